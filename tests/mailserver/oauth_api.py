"""The OAuth2 provider over HTTP: the endpoints clients know, and those that only tests have."""

import base64
import urllib.parse
from collections.abc import Mapping

from tests.mailserver.http_api import Reply, Request, Route
from tests.mailserver.oauth import CLIENT_ID, OAuthProvider


def oauth_routes(provider: OAuthProvider) -> Mapping[str, Route]:
    """All paths below /oauth."""
    return {
        "/oauth/authorize": lambda request: _authorize(provider, request),
        "/oauth/token": lambda request: _token(provider, request),
        "/oauth/introspect": lambda request: _introspect(provider, request),
        "/oauth/userinfo": lambda request: _userinfo(provider, request),
        "/oauth/mint": lambda request: _mint(provider, request),
        "/oauth/revoke": lambda request: _revoke(provider, request),
        "/oauth/expire": lambda request: Reply({"expired": provider.expire(request.query["user"])}),
        "/oauth/config": lambda request: _config(provider, request),
    }


def _authorize(provider: OAuthProvider, request: Request) -> Reply:
    """Nobody is asked: the answer is a redirect with a code."""
    query = request.query
    if query.get("client_id") != CLIENT_ID:
        return Reply({"error": "unauthorized_client"}, 400)
    error = provider.fail.get("authorize")
    back = {"error": error} if error else {"code": provider.new_code(query)}
    if "state" in query:
        back["state"] = query["state"]
    separator = "&" if "?" in query["redirect_uri"] else "?"
    location = query["redirect_uri"] + separator + urllib.parse.urlencode(back)
    return Reply(b"", 302, {"Location": location})


def _token(provider: OAuthProvider, request: Request) -> Reply:
    form = request.form
    client_id, secret = form.get("client_id"), form.get("client_secret")
    scheme, _, login = (request.headers.get("Authorization") or "").partition(" ")
    if scheme == "Basic":
        client_id, _, secret = base64.b64decode(login).decode().partition(":")
        client_id, secret = urllib.parse.unquote(client_id), urllib.parse.unquote(secret)
    status, body = provider.grant(form, client_id, secret)
    return Reply(body, status)


def _introspect(provider: OAuthProvider, request: Request) -> Reply:
    asked = request.form if request.method == "POST" else request.query
    return Reply(provider.introspect(asked.get("token") or asked.get("access_token") or _bearer(request)))


def _userinfo(provider: OAuthProvider, request: Request) -> Reply:
    token = provider.introspect(_bearer(request))
    if not token["active"]:
        return Reply({"error": "invalid_token"}, 401)
    email = token["email"]
    names = {"name": email.split("@")[0], "mail": email, "userPrincipalName": email}
    return Reply({"sub": token["sub"], "email": email, "email_verified": True, **names})


def _mint(provider: OAuthProvider, request: Request) -> Reply:
    """POST /oauth/mint?user=..[&expires_in=..]: a pair of tokens, without a flow."""
    life = float(request.query["expires_in"]) if "expires_in" in request.query else None
    return Reply(provider.issue(request.query["user"], lifetime_s=life))


def _revoke(provider: OAuthProvider, request: Request) -> Reply:
    """POST /oauth/revoke?user=.. or ?token=..: access and refresh tokens."""
    asked = {**request.form, **request.query}
    return Reply({"revoked": provider.revoke({asked[name] for name in ("user", "token") if name in asked})})


def _config(provider: OAuthProvider, request: Request) -> Reply:
    """POST {"lifetime": 5, "fail": {"refresh_token": "invalid_grant"}}; GET tells, and what was asked for."""
    if request.method == "POST":
        wanted = request.json
        provider.lifetime_s = wanted.get("lifetime", provider.lifetime_s)
        provider.fail = wanted.get("fail", provider.fail)
    return Reply(provider.status())


def _bearer(request: Request) -> str | None:
    scheme, _, token = (request.headers.get("Authorization") or "").partition(" ")
    return token if scheme == "Bearer" else None
