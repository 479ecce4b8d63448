//! Control of a running mock: faults, codes, tokens, keys and accounts, in process and over `/control`.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use serde::Deserialize;
use serde_json::json;

use crate::ambient::now_secs;
use crate::id_token::{self, Issuance};
use crate::keys::SigningKey;
use crate::shared::Shared;
use crate::{Faults, IdTokenRecipe, LogoutOrder, SignIn, Stats, logout};

/// Controls a running mock. Clones control the same one.
///
/// Each method has an endpoint under `/control`; `docs/mock-provider.md` lists them.
#[derive(Debug, Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Sets the faults; replaces all that were set before.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.state().faults = faults;
    }

    /// Removes all faults, so that every endpoint works again.
    pub fn clear_faults(&self) {
        self.set_faults(Faults::default());
    }

    /// Counts of the requests, codes and tokens since the start.
    pub fn stats(&self) -> Stats {
        self.shared.state().stats.clone()
    }

    /// Signs with a new key from now on, publishes no other key, and returns its key id.
    pub fn rotate_keys(&self) -> String {
        // Made before the state is locked, so that only the caller waits for an RSA key.
        let next = Arc::new(SigningKey::generate(self.shared.config.id_token_alg));
        let kid = next.kid.clone();
        self.shared.state().keys.rotate(next);
        kid
    }

    /// Publishes the next key beside the one that signs, and returns its key id. With
    /// [`Self::take_announced_key`] this is a rotation that no relying party should notice.
    pub fn announce_key(&self) -> String {
        let next = Arc::new(SigningKey::generate(self.shared.config.id_token_alg));
        let kid = next.kid.clone();
        self.shared.state().keys.next = Some(next);
        kid
    }

    /// Signs with the announced key from now on, if there is one. The former key stays published until
    /// the next rotation.
    pub fn take_announced_key(&self) {
        self.shared.state().keys.take_announced();
    }

    /// Disables an account: sign-ins, refreshes and userinfo requests are refused.
    pub fn disable_user(&self, username: &str) {
        self.shared.state().grants.set_disabled(username, true);
    }

    /// Enables an account again. Its former tokens are valid again.
    pub fn enable_user(&self, username: &str) {
        self.shared.state().grants.set_disabled(username, false);
    }

    /// Revokes all refresh tokens of a user.
    pub fn revoke_refresh_tokens(&self, username: &str) {
        self.shared.state().grants.revoke_user(username);
    }

    /// Makes a logout token. The mock does not send it: the caller posts it to the relying party.
    pub fn logout_token(&self, order: &LogoutOrder) -> String {
        logout::make(&self.shared, order)
    }

    /// Issues a code, as if the user had just signed in at the sign-in page. Nothing in `sign_in` is
    /// checked.
    pub fn issue_code(&self, sign_in: SignIn) -> String {
        self.shared.issue_code(sign_in)
    }

    /// Issues an ID token without a code. The token has no `at_hash`.
    pub fn issue_id_token(&self, sign_in: &SignIn, recipe: &IdTokenRecipe) -> String {
        let shared = &self.shared;
        let keys = shared.state().keys.clone();
        let user = shared.config.user(&sign_in.user);
        let now = now_secs();
        let issuance = Issuance { now, auth_time: now, at_hash: None };
        let claims = id_token::claims(&shared.subject(&user, sign_in), &issuance);
        shared.sign(claims, recipe, &keys, &sign_in.client_id)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IdTokenOrder {
    #[serde(default)]
    sign_in: SignIn,
    #[serde(default)]
    recipe: IdTokenRecipe,
}

/// The routes under `/control`.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/faults", web::put().to(put_faults))
        .route("/faults", web::delete().to(delete_faults))
        .route("/stats", web::get().to(stats))
        .route("/rotate-keys", web::post().to(rotate_keys))
        .route("/announce-key", web::post().to(announce_key))
        .route("/take-announced-key", web::post().to(take_announced_key))
        .route("/users/{name}/disabled", web::put().to(disable_user))
        .route("/users/{name}/disabled", web::delete().to(enable_user))
        .route("/users/{name}/refresh-tokens", web::delete().to(revoke_refresh_tokens))
        .route("/logout-token", web::post().to(logout_token))
        .route("/code", web::post().to(code))
        .route("/id-token", web::post().to(id_token));
}

async fn put_faults(control: Data<Control>, faults: Json<Faults>) -> HttpResponse {
    control.set_faults(faults.into_inner());
    HttpResponse::NoContent().finish()
}

async fn delete_faults(control: Data<Control>) -> HttpResponse {
    control.clear_faults();
    HttpResponse::NoContent().finish()
}

async fn stats(control: Data<Control>) -> HttpResponse {
    HttpResponse::Ok().json(control.stats())
}

async fn rotate_keys(control: Data<Control>) -> HttpResponse {
    match web::block(move || control.rotate_keys()).await {
        Ok(kid) => HttpResponse::Ok().json(json!({ "kid": kid })),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

async fn announce_key(control: Data<Control>) -> HttpResponse {
    match web::block(move || control.announce_key()).await {
        Ok(kid) => HttpResponse::Ok().json(json!({ "kid": kid })),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

async fn take_announced_key(control: Data<Control>) -> HttpResponse {
    control.take_announced_key();
    HttpResponse::NoContent().finish()
}

async fn disable_user(control: Data<Control>, name: Path<String>) -> HttpResponse {
    control.disable_user(&name);
    HttpResponse::NoContent().finish()
}

async fn enable_user(control: Data<Control>, name: Path<String>) -> HttpResponse {
    control.enable_user(&name);
    HttpResponse::NoContent().finish()
}

async fn revoke_refresh_tokens(control: Data<Control>, name: Path<String>) -> HttpResponse {
    control.revoke_refresh_tokens(&name);
    HttpResponse::NoContent().finish()
}

async fn logout_token(control: Data<Control>, order: Json<LogoutOrder>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "logoutToken": control.logout_token(&order) }))
}

async fn code(control: Data<Control>, sign_in: Json<SignIn>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "code": control.issue_code(sign_in.into_inner()) }))
}

async fn id_token(control: Data<Control>, order: Json<IdTokenOrder>) -> HttpResponse {
    let id_token = control.issue_id_token(&order.sign_in, &order.recipe);
    HttpResponse::Ok().json(json!({ "idToken": id_token }))
}
