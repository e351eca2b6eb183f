"""A small OAuth2 provider: authorization code with PKCE, refresh, client credentials, introspection. Asks nobody."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CLIENT_ID, CLIENT_SECRET = "test-client", "test-secret"
DOMAIN = "example.test"
DEFAULT_LIFETIME_S = 3600.0
MAX_LISTED = 200


@dataclass(slots=True)
class Token:
    """An access token: whose, and until when (time.time())."""

    email: str
    expires: float
    scope: str
    client_id: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a refresh token or an authorization code stands for."""

    email: str
    scope: str
    redirect_uri: str = ""
    challenge: str | None = None
    method: str = "plain"


class OAuthProvider:
    """Tokens in memory. `fail` maps a grant type, or `authorize`, to the error it answers with."""

    def __init__(self, jwt_key: bytes) -> None:
        self.jwt_key = jwt_key
        self.lifetime_s = DEFAULT_LIFETIME_S
        self.fail: dict[str, str] = {}
        self._tokens: dict[str, Token] = {}
        self._refresh: dict[str, Grant] = {}
        self._codes: dict[str, Grant] = {}
        self._log: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def issue(
        self, email: str, scope: str = "mail", *, lifetime_s: float | None = None, refresh: str | None = None
    ) -> dict[str, Any]:
        """A new access token, and a refresh token unless there is one: the body of a token answer."""
        life = self.lifetime_s if lifetime_s is None else lifetime_s
        token = self._jwt(email, int(time.time() + life), scope)
        with self._lock:
            self._tokens[token] = Token(email, time.time() + life, scope, CLIENT_ID)
            if refresh is None:
                refresh = "r-" + secrets.token_urlsafe(18)
                self._refresh[refresh] = Grant(email, scope)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": int(life)}
        return {**answer, "refresh_token": refresh, "scope": scope}

    def introspect(self, text: str | None) -> dict[str, Any]:
        """RFC 7662: whose token this is, if it is alive."""
        token = self._tokens.get(text or "")
        if token is None or token.expires <= time.time():
            return {"active": False}
        who = {"email": token.email, "username": token.email, "sub": token.email}
        rest = {"scope": token.scope, "client_id": token.client_id, "exp": int(token.expires), "token_type": "Bearer"}
        return {"active": True, **who, **rest}

    def new_code(self, query: Mapping[str, str]) -> str:
        """An authorization code for an authorization request; the user is its `login_hint`."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = Grant(
            query.get("login_hint") or f"oauth@{DOMAIN}",
            query.get("scope", "mail"),
            query["redirect_uri"],
            query.get("code_challenge"),
            query.get("code_challenge_method", "plain"),
        )
        return code

    def grant(self, form: Mapping[str, str], client_id: str | None, secret: str | None) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer to a token request."""
        kind = form.get("grant_type", "")
        with self._lock:
            self._log.append({"at": time.time(), "grant_type": kind, "client_id": client_id})
        if self.fail.get(kind):
            return 400, {"error": self.fail[kind], "error_description": "told to fail"}
        if client_id != CLIENT_ID or (secret is not None and secret != CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        match kind:
            case "refresh_token":
                return self._refreshed(form)
            case "authorization_code":
                return self._redeemed(form)
            case "client_credentials" | "password":
                return 200, self.issue(form.get("username") or f"service@{DOMAIN}", form.get("scope", "mail"))
            case _:
                return 400, {"error": "unsupported_grant_type"}

    def revoke(self, user_or_token: set[str]) -> int:
        """Forget access and refresh tokens of these users, or these tokens; how many there were."""
        with self._lock:
            before = len(self._tokens) + len(self._refresh)
            self._tokens = {
                text: token
                for text, token in self._tokens.items()
                if text not in user_or_token and token.email not in user_or_token
            }
            self._refresh = {
                text: grant
                for text, grant in self._refresh.items()
                if text not in user_or_token and grant.email not in user_or_token
            }
            return before - len(self._tokens) - len(self._refresh)

    def expire(self, user: str) -> int:
        """Let the access tokens of a user end; refresh tokens still work."""
        alive = [token for token in self._tokens.values() if token.email == user]
        for token in alive:
            token.expires = 0
        return len(alive)

    def status(self) -> dict[str, Any]:
        """What `GET /oauth/config` tells."""
        return {"lifetime": self.lifetime_s, "fail": self.fail, "log": self._log[-MAX_LISTED:]}

    def _refreshed(self, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        text = form.get("refresh_token", "")
        grant = self._refresh.get(text)
        if grant is None:
            return 400, {"error": "invalid_grant", "error_description": "unknown refresh token"}
        return 200, self.issue(grant.email, grant.scope, refresh=text)

    def _redeemed(self, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        grant = self._codes.pop(form.get("code", ""), None)
        if grant is None or grant.redirect_uri != form.get("redirect_uri", grant.redirect_uri):
            return 400, {"error": "invalid_grant"}
        if grant.challenge and grant.challenge != _challenge(form.get("code_verifier", ""), grant.method):
            return 400, {"error": "invalid_grant", "error_description": "PKCE"}
        return 200, self.issue(grant.email, grant.scope)

    def _jwt(self, email: str, expires: int, scope: str) -> str:
        """RFC 7519, HS256: Dovecot can check it by itself with the key."""
        now = int(time.time())
        claims = {"sub": email, "email": email, "iss": "mailserver", "iat": now, "nbf": now - 1, "exp": expires}
        signed = b".".join(
            _base64url(json.dumps(part).encode())
            for part in ({"alg": "HS256", "typ": "JWT"}, {**claims, "scope": scope, "jti": secrets.token_hex(6)})
        )
        return (signed + b"." + _base64url(hmac.new(self.jwt_key, signed, hashlib.sha256).digest())).decode()


def _challenge(verifier: str, method: str) -> str:
    """RFC 7636, 4.2."""
    return _base64url(hashlib.sha256(verifier.encode()).digest()).decode() if method == "S256" else verifier


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
