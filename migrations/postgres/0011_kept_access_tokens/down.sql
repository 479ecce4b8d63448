ALTER TABLE upstream_tokens
    DROP COLUMN access_token,
    DROP COLUMN access_scope,
    DROP COLUMN access_expires_at,
    DROP COLUMN access_due_at;
