-- A value of the store as a whole, raised when a backup was restored. A session keeps the one it was
-- opened with, and has ended when it is no longer the current one.

CREATE TABLE restores (
    id    INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL CHECK (epoch >= 0)
) STRICT;
INSERT INTO restores (id, epoch) VALUES (1, 0);

ALTER TABLE sessions ADD COLUMN restore_epoch INTEGER NOT NULL DEFAULT 0 CHECK (restore_epoch >= 0);
