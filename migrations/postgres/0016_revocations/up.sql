-- What other services have to learn: of which sessions, and of which users, the access tokens are to be
-- refused although they have not expired.
--
-- Triggers write it, in the transaction of whatever ends something: no statement and no release can end a
-- session or raise an epoch without it. A rotation changes no column that a trigger is for.

CREATE TABLE revocation_log (
    id            smallint CONSTRAINT revocation_log_pkey PRIMARY KEY
        CONSTRAINT revocation_log_id_check CHECK (id = 1),
    -- Another one after each restored backup, so that a position of the time before is not taken for one of
    -- this log.
    identity      uuid NOT NULL,
    -- No row has a higher position.
    last_position bigint NOT NULL CONSTRAINT revocation_log_position_check CHECK (last_position >= 0),
    -- How long after an end an access token may still be accepted, and when a process last said so.
    token_seconds bigint NOT NULL CONSTRAINT revocation_log_seconds_check CHECK (token_seconds >= 0),
    confirmed_at  timestamptz NOT NULL
);
-- Until a process says for how long its access tokens are valid, the longest time that can be configured, a
-- day, and two minutes for clocks that differ.
INSERT INTO revocation_log (id, identity, last_position, token_seconds, confirmed_at)
VALUES (1, gen_random_uuid(), 0, 86520,
    CASE WHEN EXISTS (SELECT FROM sessions) THEN clock_timestamp() ELSE to_timestamp(0) END);

-- An event is about a session, about the tokens of a user with an epoch below this one, or about all tokens
-- issued before a time.
--
-- A row gets its position when somebody reads it: then it is committed, while the order of the ids is that in
-- which transactions began to write. Positions are microseconds since 1970 or more, so that one which a
-- failover or a restored backup has undone does not come again.
CREATE TABLE revocations (
    id            bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT revocations_pkey PRIMARY KEY,
    position      bigint,
    session_id    uuid,
    user_id       uuid,
    epoch         bigint,
    issued_before timestamptz,
    forget_after  timestamptz NOT NULL,
    CONSTRAINT revocations_subject_check CHECK (num_nonnulls(session_id, user_id, issued_before) = 1),
    CONSTRAINT revocations_epoch_check CHECK ((epoch IS NULL) = (user_id IS NULL))
);
CREATE UNIQUE INDEX revocations_position ON revocations (position);
CREATE INDEX revocations_without_position ON revocations (id) WHERE position IS NULL;
CREATE INDEX revocations_forget_after ON revocations (forget_after);

CREATE FUNCTION log_session_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO revocations (session_id, forget_after)
    SELECT NEW.id, date_trunc('second', GREATEST(NEW.revoked_at, clock_timestamp()))
            + make_interval(secs => token_seconds)
    FROM revocation_log;
    RETURN NULL;
END $$;
-- What expires takes its access tokens along. A restore ends everything by one event of its own.
CREATE TRIGGER sessions_end AFTER UPDATE OF revoked_at ON sessions FOR EACH ROW
WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL
    AND NEW.revoke_reason NOT IN ('expired_idle', 'expired_absolute', 'restored'))
EXECUTE FUNCTION log_session_end();

CREATE FUNCTION log_user_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO revocations (user_id, epoch, forget_after)
    SELECT OLD.id, CASE TG_OP WHEN 'DELETE' THEN OLD.session_epoch + 1 ELSE NEW.session_epoch END,
        date_trunc('second', clock_timestamp()) + make_interval(secs => token_seconds)
    FROM revocation_log;
    RETURN NULL;
END $$;
CREATE TRIGGER users_epoch AFTER UPDATE OF session_epoch ON users FOR EACH ROW
WHEN (OLD.session_epoch <> NEW.session_epoch)
EXECUTE FUNCTION log_user_end();
CREATE TRIGGER users_deletion AFTER DELETE ON users FOR EACH ROW
EXECUTE FUNCTION log_user_end();

-- The restore epoch is the time in seconds; a token of the same second is refused too.
CREATE FUNCTION log_restore() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE revocation_log SET identity = gen_random_uuid();
    INSERT INTO revocations (issued_before, forget_after)
    SELECT to_timestamp(NEW.epoch + 1),
        date_trunc('second', GREATEST(to_timestamp(NEW.epoch), clock_timestamp()))
            + make_interval(secs => token_seconds)
    FROM revocation_log;
    RETURN NULL;
END $$;
CREATE TRIGGER restores_epoch AFTER UPDATE OF epoch ON restores FOR EACH ROW
WHEN (OLD.epoch <> NEW.epoch)
EXECUTE FUNCTION log_restore();
