"""The process that renders HTML: `python -m postbus.imap_sync.html.process`. Frames come in and go out, one by one.

A frame is its size in 4 bytes, then a `Job` or a `Rendered` as MessagePack. Whatever goes wrong ends the process;
its limits are set here, its time is the parent's to watch. It ends when its input does.
"""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from postbus.imap_sync.html.rendering import Job, Rendered, render

MAX_FRAME: Final = 64 * 1024 * 1024  # bytes
MAX_MEMORY: Final = 256 * 1024 * 1024  # bytes of data; more ends the process. The largest messages take 100 MB
WORN_SIZE: Final = 64 * 1024 * 1024  # bytes that it holds when it is done: not all that is freed comes back
WARM_UP: Final = Job("<p>a<blockquote>b &amp; c</blockquote>", None, [], True, 1024)
MAX_CPU_S: Final = 20  # of one job, should nobody be there any more to watch it


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame; None at the end, and where it is none."""
    head = stream.read(4)
    size = int.from_bytes(head)
    if len(head) < 4 or size > MAX_FRAME:
        return None
    body = stream.read(size)
    return body if len(body) == size else None


def compose_frame(body: bytes) -> bytes:
    """A frame."""
    return len(body).to_bytes(4) + body


def main() -> None:
    """Render until there is no more to do."""
    decoder, encoder = msgspec.msgpack.Decoder(Job), msgspec.msgpack.Encoder()
    render(decoder.decode(encoder.encode(WARM_UP)))  # whatever is loaded at first use is loaded now
    memory = _Memory()
    _limit()
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        _limit_time()
        rendered = render(decoder.decode(frame))
        answer = Rendered(rendered.html, rendered.cut, worn=memory.held() > WORN_SIZE)
        sys.stdout.buffer.write(compose_frame(encoder.encode(answer)))
        sys.stdout.buffer.flush()


class _Memory:
    """How much memory this process holds, where the system tells (getrusage tells of our parent, too)."""

    def __init__(self) -> None:
        self._file: int | None = None
        with suppress(OSError):
            self._file = os.open("/proc/self/statm", os.O_RDONLY)

    def held(self) -> int:
        """Bytes; 0 where nobody tells."""
        if self._file is None:
            return 0
        return int(os.pread(self._file, 200, 0).split()[1]) * resource.getpagesize()


def _limit() -> None:
    """Memory, no more files, no core dumps; and where memory is short, this process is the one to end."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time() -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    until = int(usage.ru_utime + usage.ru_stime) + MAX_CPU_S
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
