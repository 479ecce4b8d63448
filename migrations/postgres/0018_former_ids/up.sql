-- People who came from other systems: the ids that they had there, and bans that have an end.

-- Collation "C": an id is compared byte for byte. Personal data.
CREATE TABLE former_ids (
    former_id text COLLATE "C" NOT NULL
        CONSTRAINT former_ids_former_id_check CHECK (octet_length(former_id) BETWEEN 1 AND 255),
    -- The system that the id is of, by the name that the operator gave it.
    source    text COLLATE "C" NOT NULL
        CONSTRAINT former_ids_source_check CHECK (octet_length(source) BETWEEN 1 AND 64),
    user_id   uuid NOT NULL
        CONSTRAINT former_ids_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    -- 0 for the id that the applications knew, more for ids of linked accounts.
    position  smallint NOT NULL CONSTRAINT former_ids_position_check CHECK (position >= 0),
    -- What the import took over last; of the first id alone.
    record    text,
    CONSTRAINT former_ids_pkey PRIMARY KEY (former_id, source)
);
CREATE INDEX former_ids_user_id ON former_ids (user_id);

-- When a disabled user may sign in again; null for a user who is not disabled, or without an end. No
-- default, so that no row is rewritten.
ALTER TABLE users ADD COLUMN disabled_until timestamptz;
