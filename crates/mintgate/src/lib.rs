//! The Mintgate service: settings, HTTP, wiring and commands.
