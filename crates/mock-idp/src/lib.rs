//! A small real OpenID provider for development and tests, with faults to order.
