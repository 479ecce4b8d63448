DROP TABLE session_engine;
