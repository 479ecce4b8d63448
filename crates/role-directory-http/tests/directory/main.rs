//! The directory against a real HTTP server.

#[cfg(test)]
mod asking;
#[cfg(test)]
mod remembering;
#[cfg(test)]
mod server;
