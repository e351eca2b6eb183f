"""HTML is rendered in processes that may hang, die or eat memory: it costs one message its HTML, and nobody else."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postbus.common.metrics import REGISTRY
from postbus.imap_sync.html.rendering import Job
from postbus.imap_sync.sanitiser import Limits, Sanitiser

pytestmark = pytest.mark.anyio

HTML = "<p onclick=x>Hello <b>you</b></p><script>x</script>"
CLEAN = "<p>Hello <b>you</b></p>"
TEXT = '<div style="white-space:pre-wrap">Hello you</div>'
ROOT = Path(__file__).parents[3]
MODULE = "postbus.imap_sync.html.process"


def job(html: str | None = HTML, plain: str | None = None) -> Job:
    return Job(html, plain, [], True, 7_000_000)


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("rendered_html_total", {"outcome": outcome}) or 0.0


def python(code: str) -> tuple[str, ...]:
    """A process that does something else than render."""
    return (sys.executable, "-c", code)


async def until_none_is_left(sanitiser: Sanitiser) -> None:
    async with asyncio.timeout(10):
        while sanitiser.processes:
            await asyncio.sleep(0.01)


@pytest.fixture
async def sanitiser() -> AsyncIterator[Sanitiser]:
    opened = Sanitiser(Limits(idle_s=0.3))
    yield opened
    await opened.close()
    assert opened.processes == 0


async def test_processes_start_when_needed_and_end_when_idle(sanitiser: Sanitiser) -> None:
    assert sanitiser.processes == 0
    assert (await sanitiser.render(job(None, "plain <text>"), limit_s=20)).html.endswith(">plain &lt;text&gt;</div>")
    assert sanitiser.processes == 0, "plain text needs none"
    assert (await sanitiser.render(job(), limit_s=20)).html == CLEAN
    assert sanitiser.processes == 1
    await until_none_is_left(sanitiser)
    assert (await sanitiser.render(job(), limit_s=20)).html == CLEAN


async def test_many_messages_share_two_processes(sanitiser: Sanitiser) -> None:
    rendered = await asyncio.gather(*(sanitiser.render(job(f"<b>{number}"), limit_s=30) for number in range(100)))
    assert [each.html for each in rendered] == [f"<b>{number}</b>" for number in range(100)]
    assert sanitiser.processes <= 2


async def test_a_process_is_used_again_and_again(sanitiser: Sanitiser) -> None:
    await sanitiser.render(job(), limit_s=30)
    used = children_that_render()
    for _ in range(50):
        assert not (await sanitiser.render(job(), limit_s=30)).worn
    assert children_that_render() == used


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("import os; os.abort()", "crashed"),
        ("import sys; sys.stdin.buffer.read(10); sys.exit(1)", "crashed"),
        (
            "import sys; sys.stdin.buffer.read(4); sys.stdout.buffer.write(b'\\xff' * 100); sys.stdout.flush()",
            "crashed",
        ),
        (
            "import sys; sys.stdin.buffer.read(4); sys.stdout.buffer.write(b'\\0\\0\\0\\1x'); sys.stdout.flush()",
            "crashed",
        ),
        ("import time; time.sleep(60)", "slow"),
        ("while True: pass", "slow"),
    ],
)
async def test_a_process_that_dies_hangs_or_talks_nonsense_costs_one_message_its_html(code: str, outcome: str) -> None:
    before = counted(outcome)
    sanitiser = Sanitiser(Limits(job_s=0.5), argv=python(code))
    rendered = await sanitiser.render(job(), limit_s=20)
    assert rendered.html == TEXT
    assert counted(outcome) == before + 1
    await until_none_is_left(sanitiser)
    await sanitiser.close()


async def test_a_program_that_can_not_be_started_costs_no_more(tmp_path: Path) -> None:
    sanitiser = Sanitiser(argv=(str(tmp_path / "missing"),))
    assert (await sanitiser.render(job(), limit_s=20)).html == TEXT
    await sanitiser.close()


async def test_one_that_hangs_does_not_block_the_others() -> None:
    code = (
        "import sys\n"
        "from postbus.imap_sync.html import process, rendering\n"
        "def odd(job):\n"
        "    while 'hang' in job.html: pass\n"
        "    return rendering.render(job)\n"
        "process.render = odd\n"
        "process.main()"
    )
    sanitiser = Sanitiser(Limits(job_s=60.0), argv=python(code))
    hanging = asyncio.create_task(sanitiser.render(job("<p>hang"), limit_s=120))
    for number in range(20):
        assert (await sanitiser.render(job(f"<i>{number}"), limit_s=30)).html == f"<i>{number}</i>"
    assert not hanging.done()
    hanging.cancel()
    await asyncio.wait([hanging])
    await sanitiser.close()
    assert sanitiser.processes == 0


async def test_who_waits_too_long_gets_text_and_so_does_who_is_one_too_many() -> None:
    sanitiser = Sanitiser(
        Limits(processes=1, job_s=30.0, waiting_size=10_000), argv=python("import time; time.sleep(60)")
    )
    before = counted("busy")
    first = asyncio.create_task(sanitiser.render(job(), limit_s=60))
    await asyncio.sleep(0)
    assert (await sanitiser.render(job(), limit_s=0.2)).html == TEXT
    assert (await sanitiser.render(job(HTML + "<!--" + "x" * 10_000 + "-->"), limit_s=60)).html == TEXT
    assert counted("busy") == before + 2
    first.cancel()
    await asyncio.wait([first])
    await sanitiser.close()


async def test_a_process_that_was_killed_while_idle_is_replaced(sanitiser: Sanitiser) -> None:
    await sanitiser.render(job(), limit_s=20)
    [pid] = children_that_render()
    os.kill(pid, 9)
    async with asyncio.timeout(5):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        while sanitiser._idle[0].alive:  # until the loop was told
            await asyncio.sleep(0.01)
    assert (await sanitiser.render(job(), limit_s=20)).html == CLEAN


async def test_processes_end_with_a_worker_that_is_killed() -> None:
    code = (
        "import asyncio\n"
        "from tests.integration.imap_sync.test_sanitiser import children_that_render, job\n"
        "from postbus.imap_sync.sanitiser import Sanitiser\n"
        "async def main():\n"
        "    sanitiser = Sanitiser()\n"
        "    await sanitiser.render(job(), limit_s=60)\n"
        "    print(*children_that_render(), flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    worker = await asyncio.create_subprocess_exec(*python(code), stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert worker.stdout is not None
    async with asyncio.timeout(60):
        pid = int(await worker.stdout.readline())
        worker.kill()
        await worker.wait()
        while is_running(pid):
            await asyncio.sleep(0.02)


async def test_a_process_that_has_used_much_memory_is_not_used_again(sanitiser: Sanitiser) -> None:
    html = "<p>paragraph</p>" * 45_000 + "x" * 6_000_000
    rendered = await sanitiser.render(job(html), limit_s=60)
    assert rendered.html == html and rendered.worn
    await until_none_is_left(sanitiser)


async def test_memory_is_limited() -> None:
    code = f"from {MODULE} import _limit\n_limit()\nbytearray(600 * 1024 * 1024)"
    process = await asyncio.create_subprocess_exec(*python(code), stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode and b"MemoryError" in errors


async def test_the_process_holds_no_secrets_and_opens_no_files(
    sanitiser: Sanitiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EENGINE_SECRET", "a secret")
    await sanitiser.render(job(), limit_s=20)
    [pid] = children_that_render()
    assert b"EENGINE_SECRET" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"
    assert "Max open files            3" in Path(f"/proc/{pid}/limits").read_text()


async def test_hostile_messages_do_not_hold_up_the_loop(sanitiser: Sanitiser) -> None:
    slowest = 0.0

    async def watch() -> None:
        nonlocal slowest
        for _ in range(1000):
            before = time.thread_time()
            await asyncio.sleep(0.005)
            slowest = max(slowest, time.thread_time() - before)

    watching = asyncio.create_task(watch())
    rows = [f"<p>{'x' * 50}<img src='data:image/png;base64,{'A' * 3_000_000}'>", "<div>" * 50_000, "<p>" * 500_000]
    for html in rows:
        assert (await sanitiser.render(job(html), limit_s=60)).html
    watching.cancel()
    await asyncio.wait([watching])
    assert slowest < 0.1


def is_running(pid: int) -> bool:
    """Whether it is more than an entry that nobody has reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children_that_render() -> list[int]:
    """Pids of our children that render."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == os.getpid() and MODULE.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except (OSError, IndexError):
            continue
    return found
