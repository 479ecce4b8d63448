-- not in a transaction
-- The bans that end, for the clean-up. Requests go on while it is built.
CREATE INDEX CONCURRENTLY users_disabled_until ON users (disabled_until) WHERE disabled_until IS NOT NULL;
