DROP TABLE duties;
DROP TABLE signing_keys;
DROP TABLE idempotency_keys;
