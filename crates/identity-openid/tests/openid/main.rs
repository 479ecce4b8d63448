//! The adapter against a real provider over real HTTP: the mock, with faults to order.

#[cfg(test)]
mod caching;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod dialects;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod forged_claims;
#[cfg(test)]
mod forged_signatures;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod habits;
#[cfg(test)]
mod logout;
#[cfg(test)]
mod network;
#[cfg(test)]
mod oauth2;
#[cfg(test)]
mod published_keys;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod sign_in;
#[cfg(test)]
mod support;
#[cfg(test)]
mod untidy;
#[cfg(test)]
mod userinfo;
#[cfg(test)]
mod variants;
#[cfg(test)]
mod vectors;
