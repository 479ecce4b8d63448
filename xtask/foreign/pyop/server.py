"""pyop with one client and one person, behind Flask."""

import os

from Cryptodome.PublicKey import RSA
from flask import Flask, make_response, redirect, request, session
from jwkest.jwk import RSAKey
from oic.oic.message import EndSessionRequest
from pyop.authz_state import AuthorizationState
from pyop.exceptions import BearerTokenError, InvalidClientAuthentication, OAuthError
from pyop.provider import Provider
from pyop.subject_identifier import HashBasedSubjectIdentifierFactory
from pyop.userinfo import Userinfo

env = os.environ
issuer = env["ISSUER"]
FORM = '<form method="post"><input name="username"><input type="password" name="password"><button>Go on</button></form>'
provider = Provider(
    RSAKey(key=RSA.generate(2048), alg="RS256", use="sig", kid=os.urandom(8).hex()),
    {
        "issuer": "https://here",
        "authorization_endpoint": f"{issuer}/authorization",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks",
        "end_session_endpoint": f"{issuer}/logout",
        "scopes_supported": ["openid", "profile", "email"],
    },
    AuthorizationState(HashBasedSubjectIdentifierFactory("of a sample"), refresh_token_lifetime=86400),
    {
        env["CLIENT_ID"]: {
            "client_secret": env["CLIENT_SECRET"],
            "redirect_uris": [env["REDIRECT_URI"]],
            "post_logout_redirect_uris": [env["AFTER_LOGOUT"]],
            "response_types": ["code"],
        }
    },
    Userinfo({"alice": {"name": "Alice", "email": "alice@example.com", "email_verified": True}}),
)
# pyop takes no issuer without https, which a provider on this machine alone does not need.
provider.configuration_information["issuer"] = issuer
app = Flask(__name__)
app.secret_key = os.urandom(24)


@app.errorhandler(OAuthError)
@app.errorhandler(BearerTokenError)
def refused(error):
    status = 401 if isinstance(error, (InvalidClientAuthentication, BearerTokenError)) else 400
    code = getattr(error, "oauth_error", "invalid_token")
    return make_response({"error": code, "error_description": str(error)}, status)


@app.get("/.well-known/openid-configuration")
def configuration():
    return provider.provider_configuration.to_dict()


@app.get("/jwks")
def jwks():
    return provider.jwks


@app.route("/authorization", methods=["GET", "POST"])
def authorization():
    asked = provider.parse_authentication_request(request.query_string.decode())
    if request.form.get("username") == "alice" and request.form.get("password") == env["PASSWORD"]:
        session["user"] = "alice"
    if "user" not in session:
        return FORM
    return redirect(provider.authorize(asked, session["user"]).request(asked["redirect_uri"]))


@app.post("/token")
def token():
    return provider.handle_token_request(request.get_data(as_text=True), request.headers).to_dict()


@app.route("/userinfo", methods=["GET", "POST"])
def userinfo():
    return provider.handle_userinfo_request(request.get_data(as_text=True), request.headers).to_dict()


@app.get("/logout")
def logout():
    asked = EndSessionRequest().deserialize(request.query_string.decode())
    provider.logout_user(end_session_request=asked)
    session.clear()
    back = provider.do_post_logout_redirect(asked)
    return redirect(back) if back else "signed out"


app.run(host="127.0.0.1", port=int(env["PORT"]))
