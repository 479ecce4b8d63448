DROP TABLE upstream_tokens;
ALTER TABLE sessions
    DROP COLUMN issuer,
    DROP COLUMN subject,
    DROP COLUMN upstream_sid,
    DROP COLUMN claimed_roles;
ALTER INDEX single_use_marks_expires_at RENAME TO consumed_id_tokens_expires_at;
ALTER TABLE single_use_marks
    RENAME CONSTRAINT single_use_marks_hash_check TO consumed_id_tokens_hash_check;
ALTER TABLE single_use_marks RENAME CONSTRAINT single_use_marks_pkey TO consumed_id_tokens_pkey;
ALTER TABLE single_use_marks RENAME TO consumed_id_tokens;
