ALTER TABLE deleted_sessions DROP COLUMN end_reason;
DELETE FROM duties WHERE name = 'audit';
DROP TABLE audit_head;
DROP TABLE audit_events;
