DELETE FROM replicas;
ALTER TABLE replicas
    DROP COLUMN name,
    DROP COLUMN issuer,
    DROP COLUMN access_kids,
    DROP COLUMN refresh_kids,
    DROP COLUMN known_since,
    ADD COLUMN kids text[] NOT NULL;
