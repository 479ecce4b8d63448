-- The names of the key-encryption keys under which anything here may be sealed. A name does not reveal
-- its key.
CREATE TABLE sealing_keys (
    name TEXT NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64)
) STRICT;

-- The duty of sealing anew what is sealed under a former key.
INSERT INTO duties (name) VALUES ('reseal');
