"""`postbus`: options of the configuration pass through untouched, whatever they look like."""

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from postbus.cli import main as command
from postbus.cli.supervisor import start
from postbus.common.config import config_table
from postbus.common.version import __version__


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], bool]]:
    """What `postbus up` was asked to run."""
    calls: list[tuple[list[str], bool]] = []

    def run_up(argv: Sequence[str], *, sandbox: bool) -> int:
        calls.append((list(argv), sandbox))
        return 0

    monkeypatch.setattr(start, "run_up", run_up)
    return calls


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["postbus", *arguments])
    with pytest.raises(SystemExit) as end:
        command.main()
    return end.value.code


@pytest.mark.parametrize(
    "options",
    [
        ["--api.port", "3001"],
        ["--api.port=3001", "--smtp.proxy"],
        ["--settings", '{"a": "--sandbox"}'],
        ["--service.secret", "-x", "--log.level", "debug"],
    ],
)
def test_options_are_passed_on_as_they_were_typed(
    options: list[str], started: list[tuple[list[str], bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "up", *options) == 0
    assert started == [(options, False)]


def test_sandbox_is_ours_wherever_it_stands(
    started: list[tuple[list[str], bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "up", "--api.port", "3001", "--sandbox", "--log.level=debug")
    assert started == [(["--api.port", "3001", "--log.level=debug"], True)]


@pytest.mark.parametrize("arguments", [[], ["--api.port", "3001"]])
def test_without_a_command_the_service_runs(
    arguments: list[str], started: list[tuple[list[str], bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, *arguments)
    assert started == [(arguments, False)]


@pytest.mark.parametrize("word", ["version", "--version", "-v"])
def test_the_version_is_printed(word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, word) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_config_prints_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "config") == 0
    assert capsys.readouterr().out == config_table()


def test_help_names_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "help") == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("up", "serve", "migrate-streams", "config", "version"))


def test_a_service_that_does_not_exist_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nonsense: is no service" in run(monkeypatch, "serve", "nonsense")
