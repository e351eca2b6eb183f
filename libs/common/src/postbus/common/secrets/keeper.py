"""What services hold: the key ring as it is now, loaded again each minute, and kept when its source goes away."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from datetime import timedelta

import structlog

from postbus.common.secrets.errors import KeysUnavailable, SecretsState, SecretUnreadable
from postbus.common.secrets.keyring import KeyRing
from postbus.common.secrets.providers import KeyProvider

log = structlog.get_logger()

REFRESH_EVERY = timedelta(seconds=60)
FIRST_RETRY = timedelta(milliseconds=500)
LAST_RETRY = timedelta(seconds=30)
MAX_UNKNOWN_KIDS = 1000


class Secrets:
    """Seals and opens secrets. Make it with `start`; `close` ends its background task."""

    def __init__(self, provider: KeyProvider, *, refresh_every: timedelta, first_retry: timedelta) -> None:
        self._provider = provider
        self._refresh_every = refresh_every
        self._first_retry = first_retry
        self._ring: KeyRing | None = None
        self._state = SecretsState.LOADING
        self._description = "the encryption keys are being loaded"
        self._has_keys = asyncio.Event()
        self._loading = asyncio.Lock()
        self._loads = 0  # attempts that ended
        self._unknown_kids: set[str] = set()  # asked for in vain since the last refresh of the background
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        provider: KeyProvider,
        retry: bool = True,
        *,
        refresh_every: timedelta = REFRESH_EVERY,
        first_retry: timedelta = FIRST_RETRY,
    ) -> Secrets:
        """Try to load the keys once, then keep them current in the background.

        With `retry` a failure is not an error here: `state` tells it, `wait_for_keys` waits for the end of it, and
        until then `seal` and `open` raise KeysUnavailable, which is retriable. Without, KeysUnavailable is raised now.
        """
        secrets = cls(provider, refresh_every=refresh_every, first_retry=first_retry)
        await secrets.refresh()
        if secrets._ring is None and not retry:
            raise KeysUnavailable(secrets.state, secrets.description)
        secrets._task = asyncio.create_task(secrets._keep_current(), name="secrets")
        return secrets

    @property
    def state(self) -> SecretsState:
        """How the last attempt to load the keys ended; keys loaded before stay in use whatever it says."""
        return self._state

    @property
    def description(self) -> str:
        """The state in words for people."""
        if self._ring is not None and self._state is not SecretsState.READY:
            return f"{self._description}; the keys loaded before stay in use"
        return self._description

    @property
    def usable(self) -> bool:
        """Whether there are keys to work with: what readiness of a service depends on."""
        return self._ring is not None

    @property
    def ring(self) -> KeyRing:
        """The keys; KeysUnavailable until they could be loaded for the first time."""
        if self._ring is None:
            raise KeysUnavailable(self._state, self._description)
        return self._ring

    def seal(self, plain: str, *, account: str, field: str) -> str:
        """Encrypt with the active key; KeysUnavailable without keys."""
        return self.ring.seal(plain, account=account, field=field)

    async def open(self, sealed: str, *, account: str, field: str) -> str:
        """Decrypt; a key not known yet is looked for once. SecretUnreadable, or KeysUnavailable without keys."""
        try:
            return self.ring.open(sealed, account=account, field=field)
        except SecretUnreadable as error:
            if error.missing_kid is None or not await self._look_for(error.missing_kid):
                raise
        return self.ring.open(sealed, account=account, field=field)

    def needs_reseal(self, sealed: str) -> bool:
        """Whether another key than the active one sealed it; SecretUnreadable for what no key sealed."""
        return self.ring.needs_reseal(sealed)

    async def wait_for_keys(self) -> None:
        """Return once there are keys."""
        await self._has_keys.wait()

    async def refresh(self) -> None:
        """Load the keys now; `state` tells whether it worked. Callers at the same time share one attempt."""
        seen = self._loads
        async with self._loading:
            if self._loads == seen:
                await self._load()

    async def close(self) -> None:
        """End the background task."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _load(self) -> None:
        try:
            ring = await self._provider.load()
        except KeysUnavailable as error:
            self._tell(error.state, error.message)
        else:
            self._ring = ring
            self._has_keys.set()
            self._tell(SecretsState.READY, "the encryption keys are loaded")
        self._loads += 1

    def _tell(self, state: SecretsState, description: str) -> None:
        """Keep the outcome, and log it if it is another one than before."""
        if state is not self._state:
            level = log.info if state is SecretsState.READY else log.warning
            level("encryption keys", state=state.value, reason=description, usable=self.usable)
        self._state, self._description = state, description

    async def _look_for(self, kid: str) -> bool:
        """Whether a refresh found the key. In vain it is tried once between two refreshes of the background."""
        if kid in self._unknown_kids or len(self._unknown_kids) >= MAX_UNKNOWN_KIDS:
            return False
        await self.refresh()
        if kid not in self.ring.kids:
            self._unknown_kids.add(kid)
        return kid in self.ring.kids

    async def _keep_current(self) -> None:
        retry = self._first_retry
        while True:
            if self._state is SecretsState.READY:
                retry, pause = self._first_retry, self._refresh_every
            else:
                retry, pause = min(retry * 2, LAST_RETRY), retry
            await asyncio.sleep(pause.total_seconds() * random.uniform(0.8, 1.2))  # noqa: S311 - spreads replicas, no secret
            await self.refresh()
            self._unknown_kids.clear()
