DROP TABLE shared_counts;
