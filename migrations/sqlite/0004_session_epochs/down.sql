-- The release before does not know the reason 'other'.
UPDATE sessions SET revoke_reason = 'admin' WHERE revoke_reason = 'other';

ALTER TABLE sessions DROP COLUMN identity_epoch;
ALTER TABLE sessions DROP COLUMN user_epoch;
ALTER TABLE external_identities DROP COLUMN session_epoch;
ALTER TABLE users DROP COLUMN identity_epoch_floor;
ALTER TABLE users DROP COLUMN session_epoch;
