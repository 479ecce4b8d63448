DROP TRIGGER restores_epoch ON restores;
DROP TRIGGER users_deletion ON users;
DROP TRIGGER users_epoch ON users;
DROP TRIGGER sessions_end ON sessions;
DROP FUNCTION log_restore();
DROP FUNCTION log_user_end();
DROP FUNCTION log_session_end();
DROP TABLE revocations;
DROP TABLE revocation_log;
