CREATE TABLE upstream_tokens_0003 (
    session_id    BLOB NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    -- Encrypted under a key that is not in this database, for this session alone (a JWE, RFC 7516).
    sealed        TEXT NOT NULL CHECK (sealed <> ''),
    -- When the provider was last asked.
    asked_at      INTEGER NOT NULL,
    -- Until when one process has it to itself; null while none asks.
    claimed_until INTEGER
) STRICT;
INSERT INTO upstream_tokens_0003 (session_id, sealed, asked_at, claimed_until)
SELECT session_id, sealed, asked_at, claimed_until FROM upstream_tokens WHERE sealed IS NOT NULL;
DROP TABLE upstream_tokens;
ALTER TABLE upstream_tokens_0003 RENAME TO upstream_tokens;
