DROP TABLE idempotency_reservations;
