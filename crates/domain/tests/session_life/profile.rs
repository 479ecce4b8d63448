//! What is kept of whoever signs in.

use std::sync::atomic::Ordering;

use mintgate_domain::model::{ClaimSet, ClaimValue, Profile};
use mintgate_domain::{CodeVerifier, IssuedTokens, SignInRequest};

use crate::rig::{Rig, Setup, presented, with_code};

/// Has the provider say this of whoever signs in next.
fn says(rig: &Rig, texts: &[(&str, &str)]) {
    let text =
        |(name, value): &(&str, &str)| ((*name).to_owned(), ClaimValue::Text((*value).to_owned()));
    let vouches = ("email_verified".to_owned(), ClaimValue::Bool(true));
    let claims = texts.iter().map(text).chain([vouches]).collect();
    *rig.provider.claims.lock().unwrap() = ClaimSet::new(claims);
}

async fn shown(rig: &Rig, tokens: &IssuedTokens) -> Profile {
    rig.own.me(&presented(&tokens.access)).await.unwrap().1
}

fn kept(name: &str, email: Option<&str>) -> Profile {
    Profile { name: Some(name.to_owned()), email: email.map(str::to_owned), ..Profile::default() }
}

#[tokio::test]
async fn each_login_renews_everything_whichever_identity_it_is_by() {
    for keeps_users_elsewhere in [false, true] {
        let rig = Rig::set_up(Setup { keeps_users_elsewhere, ..Setup::default() });
        says(&rig, &[("name", "Ada"), ("email", "ada@example.com")]);
        let first = rig.sign_in("ada").await;
        let ada = kept("Ada", Some("ada@example.com"));
        assert_eq!(shown(&rig, &first).await, ada);

        says(&rig, &[("name", "A. Lovelace")]);
        let link = SignInRequest {
            code_verifier: Some(CodeVerifier::new("v".repeat(43))),
            ..with_code("second")
        };
        rig.identities.link(&presented(&first.access), &link).await.unwrap();
        assert_eq!(shown(&rig, &first).await, ada, "to link is not to sign in");

        let second = rig.sign_in("second-1").await;
        assert_eq!(second.user, first.user);
        for session in [&first, &second] {
            let now = kept("A. Lovelace", None);
            assert_eq!(shown(&rig, session).await, now, "the last login's, whole");
        }
        says(&rig, &[("name", "Ada"), ("email", "ada@example.com")]);
        let third = rig.sign_in("ada-2").await;
        assert_eq!(shown(&rig, &third).await, ada);
        says(&rig, &[]);
        let last = rig.sign_in("ada-3").await;
        assert_eq!(shown(&rig, &last).await, Profile::default());
    }
}

#[tokio::test]
async fn a_refused_login_says_nothing_about_anybody() {
    let rig = Rig::new();
    says(&rig, &[("name", "Ada")]);
    let session = rig.sign_in("ada").await;
    says(&rig, &[("name", "Somebody else")]);
    rig.provider.refuses.store(true, Ordering::SeqCst);
    rig.issue.issue(&crate::rig::request("ada-2", None)).await.unwrap_err();
    assert_eq!(shown(&rig, &session).await, kept("Ada", None));
}
