-- Sessions know by which identity they were opened, what the provider calls them, and which of
-- their roles its claims gave; providers' refresh tokens; marks of whatever counts once.

-- What counts once: ID tokens that clients posted themselves, logins that were begun here,
-- providers' logout tokens. The primary key makes each count once.
ALTER TABLE consumed_id_tokens RENAME TO single_use_marks;
DROP INDEX consumed_id_tokens_expires_at;
CREATE INDEX single_use_marks_expires_at ON single_use_marks (expires_at);

-- SQLite adds no column that is NOT NULL and has no default, so the table is made anew. With it
-- the one that refers to it: DROP TABLE deletes the table's rows first, and these would take the
-- rows that refer to them along.
CREATE TABLE sessions_0003 (
    -- The sid of the session's tokens.
    id                  BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id             BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,

    -- How it was opened. The identity stays what it was, whether or not it is the user's still.
    provider            TEXT NOT NULL,
    issuer              TEXT NOT NULL CHECK (octet_length(issuer) BETWEEN 1 AND 2048),
    subject             TEXT NOT NULL CHECK (octet_length(subject) BETWEEN 1 AND 255),
    -- The session at the provider: the sid of its ID token, if it has one.
    upstream_sid        TEXT CHECK (octet_length(upstream_sid) BETWEEN 1 AND 255),

    -- The current refresh token: enough to mint it again.
    gen                 INTEGER NOT NULL CHECK (gen >= 0),
    cur_hash            BLOB NOT NULL CHECK (length(cur_hash) = 32),
    cur_kid             TEXT NOT NULL,
    cur_iat             INTEGER NOT NULL,
    -- The idle limit: slides with each rotation.
    cur_exp             INTEGER NOT NULL,

    -- Its predecessor, answered with the current token for a grace period.
    prev_hash           BLOB CHECK (length(prev_hash) = 32),
    -- How often the predecessor was answered since the rotation.
    prev_replays        INTEGER NOT NULL DEFAULT 0 CHECK (prev_replays >= 0),
    rotated_at          INTEGER,

    -- Fixed at sign-in: nothing of this session works after it.
    absolute_expires_at INTEGER NOT NULL,
    revoked_at          INTEGER,
    revoke_reason       TEXT,
    created_at          INTEGER NOT NULL,
    last_used_at        INTEGER NOT NULL,

    -- Who asked for it; the address as a network, never whole.
    user_agent          TEXT,
    ip_prefix           TEXT,

    -- What its access tokens say, so that a refresh re-issues the same.
    roles               TEXT NOT NULL CHECK (json_type(roles) = 'array'),
    auth_time           INTEGER NOT NULL,
    acr                 TEXT,
    amr                 TEXT NOT NULL CHECK (json_type(amr) = 'array'),
    extra_claims        TEXT NOT NULL CHECK (json_type(extra_claims) = 'object'),

    -- The roles that the role rules gave for the provider's claims, without those from elsewhere.
    claimed_roles       TEXT NOT NULL CHECK (json_type(claimed_roles) = 'array'),

    CHECK (cur_exp <= absolute_expires_at),
    CHECK ((revoked_at IS NULL) = (revoke_reason IS NULL))
) STRICT;

-- Up to here a user has one identity. If one has several after all, the oldest; a session of a
-- user that has none, whom no sign-in could have made, is not kept.
INSERT INTO sessions_0003 (
    id, user_id, provider, issuer, subject, gen, cur_hash, cur_kid, cur_iat, cur_exp, prev_hash,
    prev_replays, rotated_at, absolute_expires_at, revoked_at, revoke_reason, created_at,
    last_used_at, user_agent, ip_prefix, roles, auth_time, acr, amr, extra_claims, claimed_roles
)
SELECT
    s.id, s.user_id, s.provider, i.issuer, i.subject, s.gen, s.cur_hash, s.cur_kid, s.cur_iat,
    s.cur_exp, s.prev_hash, s.prev_replays, s.rotated_at, s.absolute_expires_at, s.revoked_at,
    s.revoke_reason, s.created_at, s.last_used_at, s.user_agent, s.ip_prefix, s.roles, s.auth_time,
    s.acr, s.amr, s.extra_claims, s.roles
FROM sessions s JOIN external_identities i ON i.user_id = s.user_id
WHERE NOT EXISTS (
    SELECT 1 FROM external_identities older
    WHERE older.user_id = i.user_id
        AND (older.created_at, older.issuer, older.subject) < (i.created_at, i.issuer, i.subject)
);

-- Sign-ins that carried an Idempotency-Key: for as long as one may be repeated, the session it
-- opened. Only digests of the key and of the request's body.
CREATE TABLE idempotency_keys_0003 (
    key_hash   BLOB NOT NULL PRIMARY KEY CHECK (length(key_hash) = 32),
    body_hash  BLOB NOT NULL CHECK (length(body_hash) = 32),
    session_id BLOB NOT NULL REFERENCES sessions_0003 (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO idempotency_keys_0003 (key_hash, body_hash, session_id, expires_at)
SELECT key_hash, body_hash, session_id, expires_at FROM idempotency_keys
WHERE session_id IN (SELECT id FROM sessions_0003);

-- Renaming a table renames it in what refers to it, too.
DROP TABLE idempotency_keys;
DROP TABLE sessions;
ALTER TABLE sessions_0003 RENAME TO sessions;
ALTER TABLE idempotency_keys_0003 RENAME TO idempotency_keys;

CREATE INDEX idempotency_keys_session_id ON idempotency_keys (session_id);
CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);

-- Only columns that never change after the sign-in, so that a rotation touches no index.
CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_absolute_expires_at ON sessions (absolute_expires_at);
-- For providers that end sessions; subjects alone tell nearly all apart.
CREATE INDEX sessions_subject ON sessions (subject);
CREATE INDEX sessions_upstream_sid ON sessions (upstream_sid) WHERE upstream_sid IS NOT NULL;

-- Providers' refresh tokens, where providers are asked again about the people who signed in.
CREATE TABLE upstream_tokens (
    session_id    BLOB NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    -- Encrypted under a key that is not in this database, for this session alone (a JWE, RFC 7516).
    sealed        TEXT NOT NULL CHECK (sealed <> ''),
    -- When the provider was last asked.
    asked_at      INTEGER NOT NULL,
    -- Until when one process has it to itself; null while none asks.
    claimed_until INTEGER
) STRICT;
