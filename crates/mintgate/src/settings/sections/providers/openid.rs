//! What only a provider of OpenID Connect has: ID tokens, and what is in them.

use mintgate_identity_openid::{Dialect, GroupOverage, Preset};

use super::REQUIREMENTS;
use super::chosen::Chosen;
use super::client::Client;
use super::place::Place;
use crate::settings::key::key;
use crate::settings::kinds::not_among;
use crate::settings::mistakes::{Flaw, flaw};
use crate::settings::reader::Section;
use crate::settings::source::Value;
use crate::settings::types::OpenIdSettings;

const ASYMMETRIC: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
const SYMMETRIC: [&str; 3] = ["HS256", "HS384", "HS512"];

/// What `group_overage` can be.
#[derive(Clone, Copy)]
enum Overage {
    Ignore,
    Refuse,
    Follow,
}

const OVERAGES: [(&str, Overage); 3] =
    [("ignore", Overage::Ignore), ("refuse", Overage::Refuse), ("follow", Overage::Follow)];

/// Reads what is about ID tokens; none where there are none.
pub(super) fn openid(
    s: &mut Section<'_>,
    chosen: Chosen,
    place: &Place,
    client: &Client,
) -> Option<OpenIdSettings> {
    let nonce = s.choice(
        key(
            "nonce",
            "`required`: a request without `nonce` is refused. `auto`: it must match where the ID \
             token has one.",
        )
        .or("auto")
        .barred(chosen.unless_openid()),
        &REQUIREMENTS,
    );
    let id_token_algorithms = id_token_algorithms(s, chosen, client.has_secret);
    let userinfo = s.flag(
        key("userinfo", "Whether the userinfo endpoint is asked in addition to the ID token.")
            .or_derived("the preset's", chosen.0.map(|preset| Value::from(preset.userinfo)))
            .barred(chosen.unless_openid()),
    );
    let overage = s.choice(
        key(
            "group_overage",
            "`entra`: what becomes of people in more groups than an ID token holds. `ignore`: they \
             sign in without groups. `refuse`: they cannot sign in. `follow`: the groups are asked \
             for at Microsoft Graph.",
        )
        .or("ignore")
        .barred(chosen.unless(|preset| preset.group_endpoint.is_some())),
        &OVERAGES,
    );
    let preset = chosen.0.filter(|_| chosen.user_endpoint().is_none())?;
    let dialect = dialect(s, preset, place, overage);
    Some(OpenIdSettings {
        nonce: nonce?,
        id_token_algorithms: id_token_algorithms?,
        userinfo: userinfo?,
        dialect: Dialect { client_authentication: client.authentication.clone()?, ..dialect? },
    })
}

fn dialect(
    s: &mut Section<'_>,
    preset: &Preset,
    place: &Place,
    overage: Option<Overage>,
) -> Option<Dialect> {
    let dialect = place.dialect(s, preset)?;
    let group_overage = match overage {
        None | Some(Overage::Ignore) => GroupOverage::Ignore,
        Some(Overage::Refuse) => GroupOverage::Refuse,
        Some(Overage::Follow) => GroupOverage::Follow(place.graph_groups(s, preset)?),
    };
    Some(Dialect { group_overage, ..dialect })
}

fn id_token_algorithms(
    s: &mut Section<'_>,
    chosen: Chosen,
    has_secret: bool,
) -> Option<Vec<String>> {
    let known = chosen.0.map(|preset| Value::from(preset.id_token_algorithms));
    let algorithms = s.non_empty_list(
        key(
            "id_token_algs",
            "The signatures accepted on ID tokens: asymmetric ones, or `HS256`, `HS384`, `HS512` \
             alone, keyed with the client secret.",
        )
        .or_derived("the preset's, mostly `[\"RS256\"]`", known)
        .barred(chosen.unless_openid()),
        "list of JWS algorithms",
        "[\"RS256\"]",
        id_token_algorithm,
    )?;
    let symmetric = algorithms.iter().filter(|a| SYMMETRIC.contains(&a.as_str())).count();
    if symmetric > 0 && symmetric < algorithms.len() {
        let problem = "With both kinds allowed, a public key can be passed off as a shared secret.";
        s.blame("id_token_algs", flaw(problem, "keep the kind that the provider signs with"));
        return None;
    }
    if symmetric > 0 && !has_secret {
        let problem = "These are keyed with the client secret, and there is none.";
        s.blame("id_token_algs", flaw(problem, "set client_secret_file, or write [\"RS256\"]"));
        return None;
    }
    Some(algorithms)
}

fn id_token_algorithm(name: &str) -> Result<String, Flaw> {
    if name.eq_ignore_ascii_case("none") {
        let problem = "An ID token without a signature proves nothing.";
        return Err(flaw(problem, "write the algorithm the provider signs with, mostly \"RS256\""));
    }
    let names: Vec<&str> = ASYMMETRIC.into_iter().chain(SYMMETRIC).collect();
    if names.contains(&name) { Ok(name.to_owned()) } else { Err(not_among(name, &names)) }
}
