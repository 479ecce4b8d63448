-- The names of the key-encryption keys under which anything here may be sealed. A name does not reveal
-- its key.
CREATE TABLE sealing_keys (
    name text CONSTRAINT sealing_keys_pkey PRIMARY KEY
        CONSTRAINT sealing_keys_name_check CHECK (octet_length(name) BETWEEN 1 AND 64)
);

-- The duty of sealing anew what is sealed under a former key.
INSERT INTO duties (name) VALUES ('reseal');
