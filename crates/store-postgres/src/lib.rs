//! The Postgres store: diesel-async behind the store ports.
