-- What operators need: people that can be searched, and ended sessions that outlive their person.

-- The name, the user name and the email address in a form in which neither case nor Unicode form matters,
-- each between two line feeds. Personal data. Written with the profile; the rows that have one already
-- get a copy that is right for ASCII, until the profile changes.
ALTER TABLE users ADD COLUMN searched TEXT;
UPDATE users SET searched = lower(
    char(10) || coalesce(name || char(10), '') || coalesce(preferred_username || char(10), '')
        || coalesce(email || char(10), ''))
WHERE coalesce(name, preferred_username, email) IS NOT NULL;

-- Sessions that were deleted with their user: their ids, until the last access token has expired.
CREATE TABLE deleted_sessions (
    id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    ended_at     INTEGER NOT NULL,
    forget_after INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX deleted_sessions_forget_after ON deleted_sessions (forget_after);
