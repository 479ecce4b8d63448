//! The OpenAPI 3.1 documents: made from the routes, the types of the bodies, and the table of errors.

mod document;
mod endpoint;
mod operation;
mod page;
mod refusals;
#[cfg(test)]
mod tests;

pub(crate) use document::{Api, Document, Page};
pub(crate) use endpoint::Endpoint;
pub(crate) use operation::Operation;
