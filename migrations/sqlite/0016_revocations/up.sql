-- What other services have to learn: of which sessions, and of which users, the access tokens are to be
-- refused although they have not expired.
--
-- Triggers write it, in the transaction of whatever ends something: no statement and no release can end a
-- session or raise an epoch without it. A rotation changes no column that a trigger is for. A migration that
-- makes one of the tables anew has to make its triggers anew.

CREATE TABLE revocation_log (
    id            INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    -- Another one after each restored backup, so that a position of the time before is not taken for one of
    -- this log.
    identity      TEXT NOT NULL,
    -- No row has a higher position.
    last_position INTEGER NOT NULL CHECK (last_position >= 0),
    -- How long after an end an access token may still be accepted, and when a process last said so.
    token_seconds INTEGER NOT NULL CHECK (token_seconds >= 0),
    confirmed_at  INTEGER NOT NULL
) STRICT;
-- Until a process says for how long its access tokens are valid, the longest time that can be configured, a
-- day, and two minutes for clocks that differ.
INSERT INTO revocation_log (id, identity, last_position, token_seconds, confirmed_at)
VALUES (1, lower(hex(randomblob(16))), 0, 86520,
    CASE WHEN EXISTS (SELECT 1 FROM sessions) THEN unixepoch() ELSE 0 END);

-- An event is about a session, about the tokens of a user with an epoch below this one, or about all tokens
-- issued before a time.
--
-- There is one writer at a time, so the order of the positions is that of the commits. They are microseconds
-- since 1970 or more, so that one which a restored backup has undone does not come again.
CREATE TABLE revocations (
    position      INTEGER NOT NULL PRIMARY KEY,
    session_id    BLOB CHECK (length(session_id) = 16),
    user_id       BLOB CHECK (length(user_id) = 16),
    epoch         INTEGER,
    issued_before INTEGER,
    forget_after  INTEGER NOT NULL,
    CHECK ((session_id IS NOT NULL) + (user_id IS NOT NULL) + (issued_before IS NOT NULL) = 1),
    CHECK ((epoch IS NULL) = (user_id IS NULL))
) STRICT;
CREATE INDEX revocations_forget_after ON revocations (forget_after);

-- What expires takes its access tokens along. A restore ends everything by one event of its own.
CREATE TRIGGER sessions_end AFTER UPDATE OF revoked_at ON sessions
WHEN OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL
    AND NEW.revoke_reason NOT IN ('expired_idle', 'expired_absolute', 'restored')
BEGIN
    UPDATE revocation_log
    SET last_position = max(last_position + 1, CAST(unixepoch('subsec') * 1000000 AS INTEGER));
    INSERT INTO revocations (position, session_id, forget_after)
    SELECT last_position, NEW.id, max(NEW.revoked_at, unixepoch()) + token_seconds FROM revocation_log;
END;

CREATE TRIGGER users_epoch AFTER UPDATE OF session_epoch ON users
WHEN OLD.session_epoch <> NEW.session_epoch
BEGIN
    UPDATE revocation_log
    SET last_position = max(last_position + 1, CAST(unixepoch('subsec') * 1000000 AS INTEGER));
    INSERT INTO revocations (position, user_id, epoch, forget_after)
    SELECT last_position, NEW.id, NEW.session_epoch, unixepoch() + token_seconds FROM revocation_log;
END;

CREATE TRIGGER users_deletion AFTER DELETE ON users
BEGIN
    UPDATE revocation_log
    SET last_position = max(last_position + 1, CAST(unixepoch('subsec') * 1000000 AS INTEGER));
    INSERT INTO revocations (position, user_id, epoch, forget_after)
    SELECT last_position, OLD.id, OLD.session_epoch + 1, unixepoch() + token_seconds FROM revocation_log;
END;

-- The restore epoch is the time in seconds; a token of the same second is refused too.
CREATE TRIGGER restores_epoch AFTER UPDATE OF epoch ON restores
WHEN OLD.epoch <> NEW.epoch
BEGIN
    UPDATE revocation_log SET identity = lower(hex(randomblob(16))),
        last_position = max(last_position + 1, CAST(unixepoch('subsec') * 1000000 AS INTEGER));
    INSERT INTO revocations (position, issued_before, forget_after)
    SELECT last_position, NEW.epoch + 1, max(NEW.epoch, unixepoch()) + token_seconds FROM revocation_log;
END;
