-- What the release before does not know: a session that its provider ended, an operator ended.
UPDATE sessions SET revoke_reason = 'admin'
WHERE revoke_reason IN ('provider_logout', 'provider_refused');

DROP TABLE upstream_tokens;
DROP INDEX sessions_upstream_sid;
DROP INDEX sessions_subject;
ALTER TABLE sessions DROP COLUMN issuer;
ALTER TABLE sessions DROP COLUMN subject;
ALTER TABLE sessions DROP COLUMN upstream_sid;
ALTER TABLE sessions DROP COLUMN claimed_roles;

DROP INDEX single_use_marks_expires_at;
ALTER TABLE single_use_marks RENAME TO consumed_id_tokens;
CREATE INDEX consumed_id_tokens_expires_at ON consumed_id_tokens (expires_at);
