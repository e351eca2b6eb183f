"""Keys in Vault: every way it can be away has a name, work goes on with the keys of before, nothing is in the clear."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from postbus.common.config import load_config
from postbus.common.secrets import KeysUnavailable, Secrets, SecretsState, choose_provider
from postbus.common.secrets.keyring import compose_ring
from postbus.common.secrets.providers import VaultProvider
from postbus.common.service import SaltStore
from tests.servers import BaoServer, free_port
from tests.servers.bao import AppRole

pytestmark = pytest.mark.anyio

RING = compose_ring({"k1": bytes(32)}, "k1")
ROTATED = compose_ring({"k1": bytes(32), "k2": b"\2" * 32}, "k2")
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def role(bao_server: BaoServer) -> AppRole:
    return bao_server.enable_approle()


@pytest.fixture
def fresh_bao() -> Iterator[BaoServer]:
    with BaoServer() as server:
        yield server


def vault(bao: BaoServer, role: AppRole, redis: Redis, **changes: str) -> VaultProvider:
    environ = {
        "VAULT_ADDR": bao.url,
        "VAULT_ROLE_ID": role.role_id,
        "VAULT_SECRET_ID": role.secret_id,
        "VAULT_PATH": "secret/data/email/encryption",
        **changes,
    }
    provider = choose_provider(load_config([], environ, Path("/nonexistent")), SaltStore(redis))
    assert isinstance(provider, VaultProvider)
    return provider


async def state_of(provider: VaultProvider) -> SecretsState:
    with pytest.raises(KeysUnavailable) as caught:
        await provider.load()
    assert "http" not in caught.value.message
    return caught.value.state


async def test_a_ring_is_read_and_rotation_is_seen(bao_server: BaoServer, role: AppRole, redis: Redis) -> None:
    bao_server.put_secret("email/encryption", {"secret": RING})
    secrets = await Secrets.start(vault(bao_server, role, redis), refresh_every=HOUR)
    sealed = secrets.seal("geheim", account="a", field="imap.pass")
    assert sealed.startswith("v1:k1:")
    assert "geheim" not in sealed
    bao_server.put_secret("email/encryption", {"secret": ROTATED})
    await secrets.refresh()
    assert secrets.ring.active_kid == "k2"
    assert await secrets.open(sealed, account="a", field="imap.pass") == "geheim"
    await secrets.close()


async def test_a_secret_of_a_newer_key_makes_us_look_for_it(bao_server: BaoServer, role: AppRole, redis: Redis) -> None:
    bao_server.put_secret("email/encryption", {"secret": RING})
    late = await Secrets.start(vault(bao_server, role, redis), refresh_every=HOUR)
    bao_server.put_secret("email/encryption", {"secret": ROTATED})
    early = await Secrets.start(vault(bao_server, role, redis), refresh_every=HOUR)
    assert await late.open(early.seal("x", account="a", field="f"), account="a", field="f") == "x"
    await late.close()
    await early.close()


async def test_an_object_may_be_a_ring_and_a_string_a_passphrase(
    bao_server: BaoServer, role: AppRole, redis: Redis
) -> None:
    bao_server.put_secret("as/object", {"ring": {"active": "k", "k": "A" * 43 + "="}})
    assert (await vault(bao_server, role, redis, VAULT_PATH="secret/as/object", VAULT_KEY="ring").load()).kids == {"k"}
    bao_server.put_secret("as/text", {"secret": "correct horse"})
    replicas = [vault(bao_server, role, redis, VAULT_PATH="secret/data/as/text") for _ in range(3)]
    rings = await asyncio.gather(*(replica.load() for replica in replicas))
    assert len({ring.active_kid for ring in rings}) == 1


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"VAULT_PATH": "secret/data/nothing/here"}, SecretsState.PATH_MISSING),
        ({"VAULT_PATH": "nomount/data/x"}, SecretsState.PERMISSION_DENIED),
        ({"VAULT_KEY": "another"}, SecretsState.KEY_MISSING),
        ({"VAULT_SECRET_ID": "00000000-0000-0000-0000-000000000000"}, SecretsState.LOGIN_FAILED),
        ({"VAULT_ROLE_ID": "nobody"}, SecretsState.LOGIN_FAILED),
        ({"VAULT_ADDR": f"http://127.0.0.1:{free_port()}"}, SecretsState.VAULT_DOWN),
    ],
)
async def test_what_is_wrong_has_a_name(
    bao_server: BaoServer, role: AppRole, redis: Redis, changes: dict[str, str], state: SecretsState
) -> None:
    bao_server.put_secret("email/encryption", {"secret": RING})
    assert await state_of(vault(bao_server, role, redis, **changes)) is state


async def test_a_secret_that_was_deleted_is_missing(bao_server: BaoServer, role: AppRole, redis: Redis) -> None:
    bao_server.put_secret("gone", {"secret": RING})
    provider = vault(bao_server, role, redis, VAULT_PATH="secret/data/gone")
    await provider.load()
    bao_server.client().secrets.kv.v2.delete_latest_version_of_secret(path="gone", mount_point="secret")
    assert await state_of(provider) is SecretsState.PATH_MISSING


async def test_a_role_that_may_not_read_is_told_from_a_token_that_ended(bao_server: BaoServer, redis: Redis) -> None:
    denied = bao_server.enable_approle("denied", policy='path "secret/data/else" { capabilities = ["read"] }')
    assert await state_of(vault(bao_server, denied, redis)) is SecretsState.PERMISSION_DENIED


async def test_a_token_that_ended_is_replaced_by_a_new_login(bao_server: BaoServer, redis: Redis) -> None:
    bao_server.put_secret("email/encryption", {"secret": RING})
    provider = vault(bao_server, bao_server.enable_approle("brief", ttl="1s"), redis)
    await provider.load()
    await asyncio.sleep(1.3)
    assert (await provider.load()).kids == {"k1"}


async def test_vault_that_goes_away_leaves_the_keys_in_use_and_comes_back(fresh_bao: BaoServer, redis: Redis) -> None:
    role = fresh_bao.enable_approle()
    fresh_bao.put_secret("email/encryption", {"secret": RING})
    secrets = await Secrets.start(vault(fresh_bao, role, redis), refresh_every=HOUR)
    sealed = secrets.seal("x", account="a", field="f")
    fresh_bao.seal()
    await refreshed(secrets, SecretsState.VAULT_SEALED)
    assert secrets.usable
    assert "stay in use" in secrets.description
    assert await secrets.open(sealed, account="a", field="f") == "x"
    fresh_bao.stop()
    await refreshed(secrets, SecretsState.VAULT_DOWN)
    fresh_bao.start()
    role = fresh_bao.enable_approle()  # it forgot everything
    fresh_bao.put_secret("email/encryption", {"secret": ROTATED})
    await refreshed(secrets, SecretsState.LOGIN_FAILED)
    again = await Secrets.start(vault(fresh_bao, role, redis), refresh_every=HOUR)
    assert await again.open(sealed, account="a", field="f") == "x"
    await again.close()
    await secrets.close()


async def refreshed(secrets: Secrets, state: SecretsState) -> None:
    await secrets.refresh()
    assert secrets.state is state


async def test_a_service_waits_for_vault_and_never_seals_without_it(fresh_bao: BaoServer, redis: Redis) -> None:
    role = fresh_bao.enable_approle()
    provider = vault(fresh_bao, role, redis)
    secrets = await Secrets.start(provider, first_retry=timedelta(milliseconds=50))
    assert (secrets.state, secrets.usable) == (SecretsState.PATH_MISSING, False)
    with pytest.raises(KeysUnavailable):
        secrets.seal("geheim", account="a", field="f")
    fresh_bao.put_secret("email/encryption", {"secret": RING})
    async with asyncio.timeout(10):
        await secrets.wait_for_keys()
    assert secrets.seal("geheim", account="a", field="f").startswith("v1:k1:")
    await secrets.close()
