-- ID tokens that are kept as hints for signing out at the provider, where the operator wants that. A
-- session may have one without a refresh token.
ALTER TABLE upstream_tokens
    ALTER COLUMN sealed DROP NOT NULL,
    -- Encrypted as the refresh token is.
    ADD COLUMN id_token text;
