DROP TRIGGER restores_epoch;
DROP TRIGGER users_deletion;
DROP TRIGGER users_epoch;
DROP TRIGGER sessions_end;
DROP TABLE revocations;
DROP TABLE revocation_log;
