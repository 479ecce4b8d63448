//! The pages to which a login returns, and the address at which it comes back from a provider.

use super::{good, refused_for, with_provider};

const OWN: &str = "[server]\npublic_url = \"https://auth.example.com\"\n";

fn origins(text: &str) -> Vec<String> {
    good(text).pages.return_origins.iter().map(str::to_owned).collect()
}

#[test]
fn without_a_list_logins_return_to_our_own_pages_and_to_those_that_may_call() {
    assert_eq!(origins(OWN), ["https://auth.example.com"]);
    let cors = "[cors]\nallowed_origins = [\"https://app.example.com\", \
        \"https://*.preview.example.com\", \"capacitor://localhost\", \"http://localhost:5173\"]";
    assert_eq!(
        origins(&format!("{OWN}{cors}")),
        ["https://auth.example.com", "https://app.example.com", "http://localhost:5173"]
    );
    let listed = "[pages]\nreturn_origins = [\"https://shop.example.com\"]\n";
    assert_eq!(origins(&format!("{OWN}{listed}{cors}")), ["https://shop.example.com"]);
    assert_eq!(origins("[pages]\nreturn_origins = []"), Vec::<String>::new());
}

#[test]
fn only_exact_origins_of_the_web_are_returned_to() {
    let refused = [
        ("https://*.example.com", "pages.return_origins[0]: wildcard"),
        ("capacitor://localhost", "pages.return_origins[0]: pages of an app"),
        ("https://app.example.com/", "pages.return_origins[0]: write \"https://app.example.com\""),
        ("http://app.example.com", "pages.return_origins[0]: write https://"),
        ("null", "pages.return_origins[0]: sandboxed"),
    ];
    let list = |origin| with_provider(&format!("[pages]\nreturn_origins = [\"{origin}\"]"));
    refused_for(refused.map(|(origin, reason)| (list(origin), reason)));
}

#[test]
fn the_callback_is_below_the_path_of_the_public_url() {
    assert_eq!(good(OWN).callback("corp"), "https://auth.example.com/api/v1/auth/callback/corp");
    let below = "[server]\npublic_url = \"https://example.com/auth\"";
    assert_eq!(good(below).callback("a-b"), "https://example.com/auth/api/v1/auth/callback/a-b");
}
