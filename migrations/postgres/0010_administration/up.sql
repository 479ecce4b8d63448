-- What operators need: people that can be searched, and ended sessions that outlive their person.

-- The name, the user name and the email address in a form in which neither case nor Unicode form matters,
-- each between two line feeds. Personal data. Written with the profile; the rows that have one already
-- get a copy that is right for ASCII, until the profile changes.
ALTER TABLE users ADD COLUMN searched text COLLATE "C";
UPDATE users SET searched = lower(concat(E'\n', name || E'\n', preferred_username || E'\n', email || E'\n'))
WHERE coalesce(name, preferred_username, email) IS NOT NULL;

-- Sessions that were deleted with their user: their ids, until the last access token has expired.
CREATE TABLE deleted_sessions (
    id           uuid CONSTRAINT deleted_sessions_pkey PRIMARY KEY,
    ended_at     timestamptz NOT NULL,
    forget_after timestamptz NOT NULL
);
CREATE INDEX deleted_sessions_forget_after ON deleted_sessions (forget_after);
