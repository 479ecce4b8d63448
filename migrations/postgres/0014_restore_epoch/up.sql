-- A value of the store as a whole, raised when a backup was restored. A session keeps the one it was
-- opened with, and has ended when it is no longer the current one.
--
-- The column has a constant default, so that no row is rewritten. No index: a rotation stays an update
-- in place.

CREATE TABLE restores (
    id    smallint CONSTRAINT restores_pkey PRIMARY KEY
        CONSTRAINT restores_id_check CHECK (id = 1),
    epoch bigint NOT NULL CONSTRAINT restores_epoch_check CHECK (epoch >= 0)
);
INSERT INTO restores (id, epoch) VALUES (1, 0);

ALTER TABLE sessions ADD COLUMN restore_epoch bigint NOT NULL DEFAULT 0;
