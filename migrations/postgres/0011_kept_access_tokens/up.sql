-- Providers' access tokens that are kept for the back ends of apps, where the operator wants that.
ALTER TABLE upstream_tokens
    -- Encrypted as the refresh token is.
    ADD COLUMN access_token      text,
    -- What the provider says about it, if it does.
    ADD COLUMN access_scope      text,
    ADD COLUMN access_expires_at timestamptz,
    -- When a new one is fetched.
    ADD COLUMN access_due_at     timestamptz;
