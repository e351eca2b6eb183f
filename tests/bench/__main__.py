"""`./dev bench [CASE ...]`: run cases, print one line of JSON for each measurement. Figures, never a verdict."""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.bench import download, notify, read, submit, sync
from tests.bench.stage import Stage

Case = Callable[[Stage], AsyncIterator[dict[str, Any]]]
CASES: dict[str, Case] = {
    "sync": sync.run,
    "notify": notify.run,
    "read": read.run,
    "submit": submit.run,
    "download": download.run,
}


def main() -> None:
    """Run the cases named on the command line, all by default."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="small numbers: does it run at all?")
    parser.add_argument("--out", type=Path, help="also append the lines to this file")
    options = parser.parse_args()
    asyncio.run(_run(options.cases or list(CASES), options.quick, options.out))


async def _run(cases: list[str], quick: bool, out: Path | None) -> None:
    for name in cases:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        async with Stage(quick=quick) as stage:
            async for figures in CASES[name](stage):
                line = json.dumps({"case": name, **figures})
                print(line, flush=True)
                if out:
                    await _append(out, line)


def _append(out: Path, line: str) -> Awaitable[None]:
    def append() -> None:
        with out.open("a") as file:
            file.write(line + "\n")

    return asyncio.to_thread(append)


if __name__ == "__main__":
    main()
