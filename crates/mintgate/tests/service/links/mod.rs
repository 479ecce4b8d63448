//! Logins that are two links: `start` and `callback`, as browsers without a script use them.

mod back;
mod callback;
mod form_post;
mod initiate;
mod refresh_return;
pub(crate) mod start;

use mintgate_mock_idp::MockConfig;

use crate::common::{Options, Store, TestService};

pub(crate) const APP: &str = "https://app.example.com";
pub(crate) const CALLBACK: &str = "http://localhost:8080/api/v1/auth/callback/corp";

/// A service whose callback is registered at the provider, and which returns to pages of the app.
pub(crate) fn options() -> Options {
    let more = format!("[pages]\nreturn_origins = [\"{APP}\"]\n");
    let mut mock = MockConfig { iss_parameter: Some(true), ..MockConfig::default() };
    mock.clients[0].redirect_uris.push(CALLBACK.to_owned());
    Options { more, mock, ..Options::default() }
}

pub(crate) async fn service(store: Store) -> TestService {
    TestService::start_with(store, options()).await
}
