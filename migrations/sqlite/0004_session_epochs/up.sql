-- Counters that end all sessions of a user, or of an identity, at once. A session keeps the values
-- that its sign-in read; where one of them is larger by now, the session has ended.

ALTER TABLE users
    ADD COLUMN session_epoch INTEGER NOT NULL DEFAULT 0 CHECK (session_epoch >= 0);
-- The epoch that the next identity linked to the user starts with: larger than every epoch of an
-- identity that has been unlinked, so that one linked again never has an epoch it had before.
ALTER TABLE users
    ADD COLUMN identity_epoch_floor INTEGER NOT NULL DEFAULT 0 CHECK (identity_epoch_floor >= 0);

ALTER TABLE external_identities
    ADD COLUMN session_epoch INTEGER NOT NULL DEFAULT 0 CHECK (session_epoch >= 0);

ALTER TABLE sessions ADD COLUMN user_epoch INTEGER NOT NULL DEFAULT 0 CHECK (user_epoch >= 0);
-- Null for a session that outlives the unlinking of its identity.
ALTER TABLE sessions ADD COLUMN identity_epoch INTEGER DEFAULT 0 CHECK (identity_epoch >= 0);
