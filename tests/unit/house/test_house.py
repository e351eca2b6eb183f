"""What must hold for the repository to be one product in several parts."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postbus.common.config import Config, config_table
from postbus.common.config_sources import Option

ROOT = Path(__file__).parents[3]
MEMBERS = sorted([*ROOT.glob("libs/*"), *ROOT.glob("services/*")])

# The README tables of the contract: variable and command line option.
README_ROWS = [
    ("EENGINE_WORKERS", "--workers.imap"),
    ("EENGINE_REDIS", "--dbs.redis"),
    ("EENGINE_SETTINGS", "--settings"),
    ("EENGINE_SECRET", "--service.secret"),
    ("EENGINE_ADDRESSES", "--service.localAddresses"),
    ("EENGINE_TIMEOUT", "--service.commandTimeout"),
    ("EENGINE_LOG_LEVEL", "--log.level"),
    ("EENGINE_HOST", "--api.host"),
    ("EENGINE_PORT", "--api.port"),
    ("EENGINE_MAX_SIZE", "--api.maxSize"),
    ("EENGINE_AUTH", "--api.auth"),
    ("EENGINE_SMTP_SECRET", "--smtp.secret"),
    ("EENGINE_SMTP_HOST", "--smtp.host"),
    ("EENGINE_SMTP_PORT", "--smtp.port"),
    ("EENGINE_SMTP_PROXY", "--smtp.proxy"),
    ("VAULT_ADDR", None),
    ("VAULT_ROLE_ID", None),
    ("VAULT_SECRET_ID", None),
    ("VAULT_PATH", None),
    ("VAULT_KEY", None),
]


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def dependencies(folder: Path) -> set[str]:
    return {name for name in project(folder)["project"]["dependencies"] if not name.startswith("postbus-")}


def options() -> Iterator[Option]:
    for field in Config.model_fields.values():
        yield from (word for word in field.metadata if isinstance(word, Option))


def test_the_namespace_has_no_init_file() -> None:
    """One `postbus/__init__.py` would make every other part vanish."""
    assert not [*ROOT.glob("libs/*/src/postbus/__init__.py"), *ROOT.glob("services/*/src/postbus/__init__.py")]


def test_the_wheel_needs_what_its_parts_need() -> None:
    assert dependencies(ROOT) == set().union(*(dependencies(member) for member in MEMBERS))


def test_every_list_of_source_trees_names_all_of_them() -> None:
    tool = project(ROOT)["tool"]
    trees = {str(member.relative_to(ROOT) / "src") for member in MEMBERS}
    wheel = tool["hatch"]["build"]["targets"]["wheel"]
    assert {package.removesuffix("/postbus") for package in wheel["packages"]} == trees
    assert set(wheel["dev-mode-dirs"]) == trees
    assert set(tool["mypy"]["mypy_path"]) == trees
    parts = {f"postbus.{path.name}" for tree in trees for path in (ROOT / tree / "postbus").iterdir() if path.is_dir()}
    assert set(tool["mypy"]["packages"]) == parts
    assert set(tool["importlinter"]["root_packages"]) == parts


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_every_part_tells_that_it_is_typed_and_is_never_published_alone(member: Path) -> None:
    assert list(member.glob("src/postbus/*/py.typed"))
    assert "Private :: Do Not Upload" in project(member)["project"]["classifiers"]


@pytest.mark.parametrize("row", README_ROWS, ids=lambda row: row[0])
def test_every_documented_setting_has_its_variable_and_its_option(row: tuple[str, str | None]) -> None:
    assert row in {(option.env, option.cli) for option in options()}


def test_the_configuration_is_documented_as_it_is() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert config_table() in text, "put the output of `postbus config` into docs/configuration.md"


def test_the_licence_is_the_one_that_is_declared() -> None:
    assert project(ROOT)["project"]["license"] == "AGPL-3.0-or-later"
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text().splitlines()[0]


def test_ci_calls_the_command_that_people_use() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec ./dev test"


def test_every_service_has_its_process_its_deployment_and_its_place_in_compose() -> None:
    services = {member.name for member in ROOT.glob("services/*")}
    compose = (ROOT / "docker-compose.yml").read_text()
    deployments = (ROOT / "k8s" / "base").glob("*.yaml")
    named = set(re.findall(r"name: postbus-([a-z-]+)$", "\n".join(file.read_text() for file in deployments), re.M))
    assert services <= named
    assert services <= set(re.findall(r"SERVICE: ([a-z-]+)", compose))
