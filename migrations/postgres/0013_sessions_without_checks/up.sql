-- Postgres checks the rules of a table for the whole row, with every update: for a refresh, which changes
-- a few columns, that was nearly half of the statement's cost. The service keeps these rules when it
-- writes, and calls a row that breaks one corrupt when it reads it.
ALTER TABLE sessions
    DROP CONSTRAINT sessions_amr_check,
    DROP CONSTRAINT sessions_claimed_roles_check,
    DROP CONSTRAINT sessions_cur_hash_check,
    DROP CONSTRAINT sessions_extra_claims_check,
    DROP CONSTRAINT sessions_gen_check,
    DROP CONSTRAINT sessions_identity_epoch_check,
    DROP CONSTRAINT sessions_issuer_check,
    DROP CONSTRAINT sessions_limits_check,
    DROP CONSTRAINT sessions_prev_hash_check,
    DROP CONSTRAINT sessions_prev_replays_check,
    DROP CONSTRAINT sessions_revoked_check,
    DROP CONSTRAINT sessions_roles_check,
    DROP CONSTRAINT sessions_subject_check,
    DROP CONSTRAINT sessions_upstream_sid_check,
    DROP CONSTRAINT sessions_user_epoch_check;
