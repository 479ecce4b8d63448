-- The mark of the engine that the sessions are in, if they are in another one than users: one row or none.
CREATE TABLE session_engine (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    mark TEXT NOT NULL CHECK (length(mark) BETWEEN 1 AND 64)
) STRICT;
