-- What the limits of each process have counted in the last seconds, for the other processes: one row for each
-- report, which lives for two minutes at most.
--
-- Unlogged: it is written every second, a crash may lose it, and neither standbys nor backups of the log need it.
CREATE UNLOGGED TABLE shared_counts (
    replica bytea NOT NULL CONSTRAINT shared_counts_replica_check CHECK (octet_length(replica) = 16),
    -- Which of the process's reports it is.
    number  bigint NOT NULL CONSTRAINT shared_counts_number_check CHECK (number >= 0),
    -- When it came, by this server's clock.
    at      timestamptz NOT NULL,
    -- Of each count: the limit, a digest of whom it is for, the number, and how old it was, in milliseconds.
    limits  text[] NOT NULL,
    keys    bytea[] NOT NULL,
    counts  integer[] NOT NULL,
    ages    integer[] NOT NULL,
    CONSTRAINT shared_counts_pkey PRIMARY KEY (replica, number),
    CONSTRAINT shared_counts_length_check CHECK (
        cardinality(limits) BETWEEN 1 AND 1000 AND cardinality(keys) = cardinality(limits)
        AND cardinality(counts) = cardinality(limits) AND cardinality(ages) = cardinality(limits)
    )
);
