-- People who came from other systems: the ids that they had there, and bans that have an end.

-- Personal data.
CREATE TABLE former_ids (
    former_id TEXT NOT NULL CHECK (octet_length(former_id) BETWEEN 1 AND 255),
    -- The system that the id is of, by the name that the operator gave it.
    source    TEXT NOT NULL CHECK (octet_length(source) BETWEEN 1 AND 64),
    user_id   BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- 0 for the id that the applications knew, more for ids of linked accounts.
    position  INTEGER NOT NULL CHECK (position >= 0),
    -- What the import took over last; of the first id alone.
    record    TEXT,
    PRIMARY KEY (former_id, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX former_ids_user_id ON former_ids (user_id);

-- When a disabled user may sign in again; null for a user who is not disabled, or without an end.
ALTER TABLE users ADD COLUMN disabled_until INTEGER;
CREATE INDEX users_disabled_until ON users (disabled_until) WHERE disabled_until IS NOT NULL;
