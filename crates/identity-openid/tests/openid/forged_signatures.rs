//! Cases 20 to 22: headers, signatures and shapes that a genuine ID token does not have.

use mintgate_mock_idp::IdTokenRecipe;
use mintgate_mock_idp::forgeries::Kind;

use crate::support::{NONCE, start, with_nonce};
use crate::variants::{assert_passes, refuse, refuse_all, target};

#[tokio::test]
async fn case_20_the_algorithm_is_the_pinned_one_and_nobody_elses_choice() {
    refuse(Kind::Algorithm).await;
}

#[tokio::test]
async fn case_21_a_key_comes_from_the_provider_and_from_nowhere_else() {
    let (idp, attacker) = (start().await, start().await);
    refuse_all(&idp, Kind::Key, &format!("{}/jwks", attacker.issuer())).await;
    assert_eq!(attacker.control().stats().jwks, 0);
}

#[tokio::test]
async fn case_21_an_unknown_kid_is_only_ever_compared() {
    let idp = start().await;
    refuse_all(&idp, Kind::UnknownKey, "").await;
    let all = "the first load, one for all posted tokens, and one for all others";
    assert_eq!(idp.control().stats().jwks, 3, "{all}");
}

#[tokio::test]
async fn case_22_a_token_is_a_plain_compact_jws() {
    refuse(Kind::Form).await;
}

#[tokio::test]
async fn case_22_a_member_that_comes_twice_is_no_claim() {
    let idp = start().await;
    let adapter = refuse_all(&idp, Kind::Payload, "").await;
    let payload = target(&idp, "").payload(&format!(r#","nonce":"{NONCE}""#));
    let genuine = IdTokenRecipe { raw_payload: Some(payload), ..IdTokenRecipe::default() };
    assert_passes(&idp, &adapter, with_nonce(), genuine).await;
}
