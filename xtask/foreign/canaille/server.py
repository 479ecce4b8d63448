"""Canaille in memory, with one client and one person."""

import os

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend

env = os.environ
scheme, _, host = env["ISSUER"].partition("://")
app = create_app(
    {"SECRET_KEY": os.urandom(24).hex(), "PREFERRED_URL_SCHEME": scheme, "SERVER_NAME": host}
)
with app.app_context():
    Backend.instance.save(
        models.User(
            user_name="alice",
            password=env["PASSWORD"],
            formatted_name="Alice",
            family_name="Adams",
            emails=["alice@example.com"],
        )
    )
    # As its page for administrators makes one; without an algorithm it would be the strongest of the key.
    client = models.Client(
        client_id=env["CLIENT_ID"],
        client_secret=env["CLIENT_SECRET"],
        client_name="Mintgate",
        client_uri="https://app.example.com",
        redirect_uris=[env["REDIRECT_URI"]],
        post_logout_redirect_uris=[env["AFTER_LOGOUT"]],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        scope=["openid", "profile", "email"],
        token_endpoint_auth_method="client_secret_basic",
        id_token_signed_response_alg="RS256",
    )
    Backend.instance.save(client)
    client.audience = [client]
    Backend.instance.save(client)
app.run(host="127.0.0.1", port=int(env["PORT"]))
