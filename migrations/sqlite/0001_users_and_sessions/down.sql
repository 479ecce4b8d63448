DROP TABLE sessions;
DROP TABLE consumed_id_tokens;
DROP TABLE external_identities;
DROP TABLE users;
