-- All sessions of a user, or of an identity, are ended by raising a counter: a session keeps the
-- epochs it was opened with, and has ended when one of them is no longer the current one.
--
-- Columns with constant defaults, so that no row is rewritten; the version before this one writes
-- sessions with the defaults. No index: a rotation stays an update in place.

ALTER TABLE users
    ADD COLUMN session_epoch        bigint NOT NULL DEFAULT 0
        CONSTRAINT users_session_epoch_check CHECK (session_epoch >= 0),
    -- The epoch an identity starts with when it is linked: above every epoch that an identity of this
    -- user had before it was unlinked.
    ADD COLUMN identity_epoch_floor bigint NOT NULL DEFAULT 0
        CONSTRAINT users_identity_epoch_floor_check CHECK (identity_epoch_floor >= 0);

ALTER TABLE external_identities
    ADD COLUMN session_epoch bigint NOT NULL DEFAULT 0
        CONSTRAINT external_identities_session_epoch_check CHECK (session_epoch >= 0);

ALTER TABLE sessions
    ADD COLUMN user_epoch     bigint NOT NULL DEFAULT 0
        CONSTRAINT sessions_user_epoch_check CHECK (user_epoch >= 0),
    -- Null where the session outlives the unlinking of its identity.
    ADD COLUMN identity_epoch bigint DEFAULT 0
        CONSTRAINT sessions_identity_epoch_check CHECK (identity_epoch >= 0);
