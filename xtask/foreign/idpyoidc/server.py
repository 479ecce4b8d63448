"""idpyoidc with one client and one person, behind Flask."""

import os

from flask import Flask, make_response, redirect, request
from idpyoidc.message.oauth2 import ResponseMessage
from idpyoidc.message.oidc import AccessTokenRequest, AuthorizationRequest
from idpyoidc.server import Server
from idpyoidc.server.oidc.session import Session

env = os.environ
FORM = '<form method="post" action="/{}"><input type="hidden" name="{}" value="{}">{}<button>Go on</button></form>'
LOGIN = '<input name="username"><input type="password" name="password">'
SCOPES = ["openid", "profile", "email", "offline_access"]
OIDC = "idpyoidc.server.oidc"


class Pages:
    """Renders the login page."""

    def render(self, template, action, token, **_):
        return FORM.format(action, "token", token, LOGIN)


class EndSession(Session):
    """Asks for no client authentication, of which this version expects an access token."""

    def client_authentication(self, *_, **__):
        return {}


def endpoint(path, name, **kwargs):
    return {"path": path, "class": f"{OIDC}.{name}", "kwargs": kwargs}


server = Server(
    {
        "issuer": env["ISSUER"],
        "preference": {"scopes_supported": SCOPES},
        "key_conf": {
            "key_defs": [
                {"type": "RSA", "use": ["sig"]},
                {"type": "EC", "crv": "P-256", "use": ["sig"]},
            ],
            "uri_path": "jwks",
        },
        "httpc_params": {"timeout": 5},
        "cookie_handler": {
            "class": "idpyoidc.server.cookie_handler.CookieHandler",
            "kwargs": {
                "sign_key": os.urandom(24).hex(),
                "name": {"session": "op", "register": "rp", "session_management": "sman"},
            },
        },
        "endpoint": {
            "provider_config": endpoint(
                ".well-known/openid-configuration",
                "provider_config.ProviderConfiguration",
                client_authn_method=None,
            ),
            "authorization": endpoint(
                "authorization", "authorization.Authorization", client_authn_method=None
            ),
            "token": endpoint(
                "token", "token.Token", client_authn_method=["client_secret_basic", "client_secret_post"]
            ),
            "userinfo": endpoint("userinfo", "userinfo.UserInfo"),
            "session": {
                "path": "session",
                "class": EndSession,
                "kwargs": {
                    "logout_verify_url": "verify_logout",
                    "post_logout_uri_path": "post_logout",
                    "signing_alg": "ES256",
                    "backchannel_logout_supported": True,
                    "backchannel_logout_session_supported": True,
                },
            },
        },
        "add_on": {
            "pkce": {
                "function": "idpyoidc.server.oauth2.add_on.pkce.add_support",
                "kwargs": {"essential": False, "code_challenge_method": "S256"},
            }
        },
        "authentication": {
            "user": {
                "acr": "urn:oasis:names:tc:SAML:2.0:ac:classes:InternetProtocolPassword",
                "class": "idpyoidc.server.user_authn.user.UserPassJinja2",
                "kwargs": {
                    "template_handler": Pages(),
                    "verify_endpoint": "login",
                    "db": {"class": dict, "kwargs": {"alice": env["PASSWORD"]}},
                },
            }
        },
        "token_handler_args": {
            "jwks_def": {
                "private_path": os.path.join(env["DATA"], "token_keys.json"),
                "key_defs": [
                    {"type": "oct", "bytes": 24, "use": ["enc"], "kid": kid}
                    for kid in ["code", "token", "refresh"]
                ],
            },
            "code": {"lifetime": 600},
            "token": {"lifetime": 3600},
            "refresh": {"lifetime": 86400},
            "id_token": {"class": "idpyoidc.server.token.id_token.IDToken", "kwargs": {}},
        },
        "userinfo": {
            "class": "idpyoidc.server.user_info.UserInfo",
            "kwargs": {
                "db": {"alice": {"name": "Alice", "email": "alice@example.com", "email_verified": True}}
            },
        },
    },
)
context = server.get_context()
context.cdb[env["CLIENT_ID"]] = {
    "client_id": env["CLIENT_ID"],
    "client_secret": env["CLIENT_SECRET"],
    "redirect_uris": [(env["REDIRECT_URI"], {})],
    "post_logout_redirect_uri": [(env["AFTER_LOGOUT"], {})],
    "backchannel_logout_uri": env["BACKCHANNEL_LOGOUT"],
    "token_endpoint_auth_method": "client_secret_basic",
    "response_types_supported": ["code"],
    "allowed_scopes": SCOPES,
    "id_token_signed_response_alg": "RS256",
}
server.keyjar.add_symmetric(env["CLIENT_ID"], env["CLIENT_SECRET"])

app = Flask(__name__)


def with_cookies(answer, cookies):
    for cookie in cookies if isinstance(cookies, list) else [cookies]:
        answer.set_cookie(cookie["name"], cookie["value"], max_age=cookie.get("max-age"), path="/")
    return answer


def answered(at, asked, **args):
    if "error" in args:
        return make_response(args, 400)
    if "redirect_location" in args:
        return redirect(args["redirect_location"])
    if "http_response" in args:
        return make_response(args["http_response"])
    info = at.do_response(request=asked, **args)
    if info.get("response_placement", at.response_placement) == "body":
        answer = make_response(info["response"], info.get("response_code", 200))
    else:
        answer = redirect(info["response"])
    answer.headers.extend(dict(info["http_headers"]))
    return with_cookies(answer, info["cookie"]) if "cookie" in info else answer


def serve(name):
    at = server.get_endpoint(name)
    http_info = {
        "headers": {key.lower(): value for key, value in request.headers.items()},
        "method": request.method,
        "url": request.url,
        "cookie": [{"name": key, "value": value} for key, value in request.cookies.items()],
    }
    try:
        asked = at.parse_request({**request.args, **request.form}, http_info=http_info)
        if isinstance(asked, ResponseMessage) and "error" in asked:
            return make_response(asked.to_dict(), 400)
        if name == "token":
            asked = AccessTokenRequest(**asked) if asked.get("code") else asked
        return answered(at, asked, **at.process_request(asked, http_info=http_info))
    except Exception as error:  # What the library raises for a request that it refuses.
        app.logger.exception(name)
        return make_response({"error": "invalid_request", "error_description": str(error)}, 400)


for path, name in [
    ("/.well-known/openid-configuration", "provider_config"),
    ("/authorization", "authorization"),
    ("/token", "token"),
    ("/userinfo", "userinfo"),
    ("/session", "session"),
]:
    app.add_url_rule(path, name, lambda name=name: serve(name), methods=["GET", "POST"])


@app.get("/jwks")
def jwks():
    return server.keyjar.export_jwks()


@app.post("/login")
def login():
    method = context.authn_broker.get_method_by_id("user")
    username = method.verify(**request.form)
    asked = method.unpack_token(request.form["token"])
    authorization = AuthorizationRequest().from_urlencoded(asked["query"])
    at = server.get_endpoint("authorization")
    session = at.create_session(
        authorization, username, asked["authn_class_ref"], asked["iat"], method
    )
    return answered(at, authorization, **at.authz_part2(request=authorization, session_id=session))


@app.get("/verify_logout")
def verify_logout():
    yes = '<input type="hidden" name="logout" value="yes">'
    return FORM.format("log_out", "sjwt", request.args["sjwt"], yes)


@app.post("/log_out")
def log_out():
    at = server.get_endpoint("session")
    asked = at.unpack_signed_jwt(request.form["sjwt"])
    at.do_verified_logout(**asked)
    return with_cookies(redirect(asked["redirect_uri"]), at.kill_cookies())


@app.get("/post_logout")
def post_logout():
    return "signed out"


app.run(host="127.0.0.1", port=int(env["PORT"]))
