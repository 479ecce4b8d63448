//! The embedded SQLite store: diesel-async behind the store ports.
