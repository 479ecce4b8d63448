-- Providers' access tokens that are kept for the back ends of apps, where the operator wants that.

-- Encrypted as the refresh token is.
ALTER TABLE upstream_tokens ADD COLUMN access_token TEXT CHECK (access_token <> '');
-- What the provider says about it, if it does.
ALTER TABLE upstream_tokens ADD COLUMN access_scope TEXT;
ALTER TABLE upstream_tokens ADD COLUMN access_expires_at INTEGER;
-- When a new one is fetched.
ALTER TABLE upstream_tokens ADD COLUMN access_due_at INTEGER;
