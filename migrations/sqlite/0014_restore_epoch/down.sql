ALTER TABLE sessions DROP COLUMN restore_epoch;
DROP TABLE restores;
