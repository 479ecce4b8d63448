//! Gateways whose demands are configured here, and the address of the login that gateways are told.

use super::{good, refused_for, with_provider};

fn names(text: &str) -> Vec<(String, Vec<String>, bool)> {
    let gateways = good(text).gateways.into_iter();
    let roles = |roles: Vec<mintgate_domain::model::Role>| {
        roles.iter().map(|role| role.as_str().to_owned()).collect()
    };
    gateways.map(|it| (it.name, roles(it.roles), it.redirects)).collect()
}

#[test]
fn a_gateway_demands_one_role_or_several() {
    assert_eq!(names(""), []);
    let text = "[[gateways]]\nname = \"shop\"\n\
        [[gateways]]\nname = \"office\"\nrole = \"staff\"\nlogin = \"redirect\"\n\
        [[gateways]]\nname = \"vault\"\nrole = [\"staff\", \"auditor\"]\nlogin = \"none\"\n";
    assert_eq!(
        names(text),
        [
            ("shop".to_owned(), vec![], false),
            ("office".to_owned(), vec!["staff".to_owned()], true),
            ("vault".to_owned(), vec!["staff".to_owned(), "auditor".to_owned()], false),
        ]
    );
    let gateway = |lines: &str| with_provider(&format!("[[gateways]]\n{lines}"));
    refused_for([
        (gateway("role = \"a\""), "gateways[0].name: This key is required"),
        (gateway("name = \"Shop\""), "gateways[0].name: lower-case letters"),
        (gateway("name = \"a/b\""), "gateways[0].name: lower-case letters"),
        (gateway("name = \"a\"\n[[gateways]]\nname = \"a\""), "gateways[1].name: Another gateway"),
        (gateway("name = \"a\"\nrole = \"a b\""), "gateways[0].role[0]: role"),
        (gateway("name = \"a\"\nrole = 7"), "gateways[0].role: list"),
        (gateway("name = \"a\"\nlogin = \"page\""), "gateways[0].login: redirect"),
    ]);
}

#[test]
fn the_login_is_that_of_the_only_provider_or_a_page_of_the_operators() {
    let login = |text: &str| good(text).login_address().map(String::from);
    let own = "[server]\npublic_url = \"https://example.com/auth\"\n";
    let start = "https://example.com/auth/api/v1/auth/start/corp";
    assert_eq!(login(own).as_deref(), Some(start));
    let page = "[pages]\nlogin_url = \"https://app.example.com/login?from=gateway\"\n";
    let written = "https://app.example.com/login?from=gateway";
    assert_eq!(login(&format!("{own}{page}")).as_deref(), Some(written));
    let second = "[[providers]]\nid = \"other\"\nissuer = \"https://other.example.com\"\n\
        client_id = \"a\"\nredirect_uris = [\"https://app.example.com/callback\"]\n";
    assert_eq!(login(&format!("{own}{second}")), None);
    assert_eq!(login(&format!("{own}{page}{second}")).as_deref(), Some(written));
    for bad in ["/login", "http://app.example.com/login", "https://app.example.com/#login", ""] {
        let text = with_provider(&format!("[pages]\nlogin_url = \"{bad}\""));
        refused_for([(text, "pages.login_url: ")]);
    }
}
