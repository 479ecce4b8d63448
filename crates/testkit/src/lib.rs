//! Fakes, builders and the contract suites every adapter must pass.
