DROP TABLE replicas;
DROP TABLE idempotency_reservations;
