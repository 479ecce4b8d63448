-- ID tokens that are kept as hints for signing out at the provider, where the operator wants that. A
-- session may have one without a refresh token, so the table is made anew. No other refers to it.
CREATE TABLE upstream_tokens_0008 (
    session_id    BLOB NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    -- The refresh token, encrypted under a key that is not in this database, for this session alone (a
    -- JWE, RFC 7516).
    sealed        TEXT CHECK (sealed <> ''),
    -- When the provider was last asked.
    asked_at      INTEGER NOT NULL,
    -- Until when one process has the refresh token to itself; null while none asks.
    claimed_until INTEGER,
    -- The ID token, encrypted in the same way.
    id_token      TEXT CHECK (id_token <> '')
) STRICT;
INSERT INTO upstream_tokens_0008 (session_id, sealed, asked_at, claimed_until)
SELECT session_id, sealed, asked_at, claimed_until FROM upstream_tokens;
DROP TABLE upstream_tokens;
ALTER TABLE upstream_tokens_0008 RENAME TO upstream_tokens;
