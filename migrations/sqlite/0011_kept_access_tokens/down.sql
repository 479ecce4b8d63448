ALTER TABLE upstream_tokens DROP COLUMN access_due_at;
ALTER TABLE upstream_tokens DROP COLUMN access_expires_at;
ALTER TABLE upstream_tokens DROP COLUMN access_scope;
ALTER TABLE upstream_tokens DROP COLUMN access_token;
