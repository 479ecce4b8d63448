-- The mark of the engine that the sessions are in, if they are in another one than users: one row or none.
CREATE TABLE session_engine (
    id   integer PRIMARY KEY CONSTRAINT session_engine_id_check CHECK (id = 1),
    mark text NOT NULL CONSTRAINT session_engine_mark_check CHECK (length(mark) BETWEEN 1 AND 64)
);
