DELETE FROM duties WHERE name = 'reseal';
DROP TABLE sealing_keys;
