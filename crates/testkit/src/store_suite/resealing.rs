//! Sealing anew what is sealed under a former key-encryption key.

use mintgate_domain::model::{KeptAccess, SealedToken, UpstreamTokens};
use mintgate_domain::ports::{SealedBefore, SealedPage, UpstreamTokenKind};

use super::upstream::{claim, sealed};
use super::{known_user, soon, stored};
use crate::openings::{NOW, Openings, identity};
use crate::store_under_test::StoreUnderTest;

const NEW: &str = "eyNEW_%";

fn under_new(name: &str) -> SealedToken {
    SealedToken(format!("{NEW}..iv.{name}.tag"))
}

fn access(sealed: SealedToken) -> KeptAccess {
    KeptAccess { sealed, scope: None, expires_at: None, due_at: None }
}

async fn kept(store: &dyn StoreUnderTest, token: &SealedBefore) -> UpstreamTokens {
    store.store().upstream_tokens.load_upstream(token.session).await.expect("tokens")
}

/// Those without the mark are found, page by page, whatever their kind; the mark is no pattern.
pub async fn tokens_without_the_mark_are_found_in_pages(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let user = known_user(store, &openings, "ada").await;
    let tokens = [
        UpstreamTokens {
            refresh: Some(sealed("r1")),
            id: Some(under_new("i1")),
            access: Some(access(SealedToken("eyNEWx%..iv.a1.tag".to_owned()))),
        },
        UpstreamTokens { refresh: Some(under_new("r2")), id: None, access: None },
        UpstreamTokens { refresh: None, id: Some(sealed("i3")), access: None },
    ];
    let mut expected = vec![];
    for upstream in tokens {
        let mut opening = openings.existing(user);
        opening.upstream = upstream.clone();
        let session = stored(store, &opening).await.id;
        let kinds = [
            (UpstreamTokenKind::Refresh, upstream.refresh),
            (UpstreamTokenKind::Id, upstream.id),
            (UpstreamTokenKind::Access, upstream.access.map(|access| access.sealed)),
        ];
        for (kind, sealed) in kinds {
            let before = sealed.filter(|sealed| !sealed.0.starts_with(NEW));
            expected.extend(before.map(|sealed| SealedBefore { session, kind, sealed }));
        }
    }
    let repo = store.store().upstream_tokens;
    let all = SealedPage { tokens: expected.clone(), next: None };
    assert_eq!(repo.sealed_before(NEW, None, 10).await, Ok(all));
    let (mut found, mut after, mut pages) = (vec![], None, 0);
    loop {
        let page = repo.sealed_before(NEW, after, 1).await.expect("a page");
        found.extend(page.tokens);
        (after, pages) = (page.next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (expected, 4));
}

/// A token that was replaced meanwhile stays; so does a refresh token that somebody shows to the provider.
pub async fn a_token_is_resealed_while_it_is_the_same(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let repo = store.store().upstream_tokens;
    let mut opening = openings.new_user(identity("ada"));
    opening.upstream = UpstreamTokens {
        refresh: Some(sealed("r")),
        id: Some(sealed("i")),
        access: Some(access(sealed("a"))),
    };
    let session = stored(store, &opening).await.id;
    let tokens = repo.sealed_before(NEW, None, 10).await.expect("a page").tokens;
    assert_eq!(tokens.len(), 3);
    let other = SealedBefore { sealed: sealed("another"), ..tokens[1].clone() };
    assert_eq!(repo.reseal_upstream(&other, &under_new("x"), NOW).await, Ok(false));

    claim(store, session, NOW, NOW).await.expect("a token");
    assert_eq!(repo.reseal_upstream(&tokens[0], &under_new("r"), soon()).await, Ok(false));
    repo.release_upstream(session, &tokens[0].sealed).await.expect("an answer");
    for (token, name) in tokens.iter().zip(["r", "i", "a"]) {
        assert_eq!(repo.reseal_upstream(token, &under_new(name), soon()).await, Ok(true));
        assert_eq!(repo.reseal_upstream(token, &under_new(name), soon()).await, Ok(false));
    }
    let resealed = UpstreamTokens {
        refresh: Some(under_new("r")),
        id: Some(under_new("i")),
        access: Some(access(under_new("a"))),
    };
    assert_eq!(kept(store, &tokens[0]).await, resealed);
    assert_eq!(repo.sealed_before(NEW, None, 10).await, Ok(SealedPage::default()));
}
