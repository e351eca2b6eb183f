"""A service that dies at once."""

from postbus.common.service import Parts


async def serve(_: Parts) -> None:
    raise RuntimeError("broken on purpose")
