ALTER TABLE sessions DROP COLUMN user_epoch, DROP COLUMN identity_epoch;
ALTER TABLE external_identities DROP COLUMN session_epoch;
ALTER TABLE users DROP COLUMN session_epoch, DROP COLUMN identity_epoch_floor;
