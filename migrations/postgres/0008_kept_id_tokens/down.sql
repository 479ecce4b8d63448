DELETE FROM upstream_tokens WHERE sealed IS NULL;
ALTER TABLE upstream_tokens
    DROP COLUMN id_token,
    ALTER COLUMN sealed SET NOT NULL;
