//! `mintgate import`: the people of another system become users of this one.
//!
//! Each source is one module, which reads what that system keeps and yields [`person::ImportedPerson`]s.
//! [`mapping`] says what the names of that system mean here, [`sorting`] makes of a person the user that
//! is to be imported, or says why there is none, and [`report`] counts. The import itself is
//! [`mintgate_domain::ImportPeople`].

mod better_auth;
mod command;
mod csv;
mod database;
#[cfg(test)]
mod database_tests;
mod keycloak;
mod mapping;
mod person;
mod report;
mod run;
mod sorting;
mod supabase;
mod supertokens;
mod times;

pub use command::{Done, ImportCommand};
pub use mapping::KnownProvider;
