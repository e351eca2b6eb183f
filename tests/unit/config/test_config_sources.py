"""Where configuration comes from, what wins, and that everything wrong is told at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from postbus.common.config import Config, ConfigError, config_table, load_config


@pytest.fixture
def load(tmp_path: Path) -> "Loader":
    return Loader(tmp_path)


class Loader:
    """Loads a configuration from a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, argv: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Config:
        return load_config(argv, environ or {}, self.directory)

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def problems(self, argv: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            self(argv, environ)
        return caught.value.problems


def test_with_nothing_said_the_defaults_hold(load: Loader) -> None:
    config = load()
    assert (config.host, config.port, config.workers_imap) == ("127.0.0.1", 3000, 4)
    assert config.redis_or_default == "redis://127.0.0.1:6379/8"
    assert config.nats_or_default == "nats://127.0.0.1:4222"
    assert config.given_data_dir is None
    assert config.warnings == ()


def test_environment_beats_command_line_beats_file_beats_default(load: Loader) -> None:
    load.write("c.toml", '[api]\nhost = "file"\nport = 1001\n[log]\nlevel = "error"\n')
    argv = ["--config", "c.toml", "--api.host=cli", "--api.port", "1002"]
    config = load(argv, {"EENGINE_PORT": "1003"})
    assert (config.log_level, config.host, config.port) == ("error", "cli", 1003)


def test_dotenv_fills_the_environment_so_it_beats_the_command_line(load: Loader) -> None:
    load.write(".env", "EENGINE_PORT=1004\nEENGINE_HOST='from.env'\n# comment\nOTHER=x\n")
    config = load(["--api.port=1002"], {"EENGINE_HOST": "real"})
    assert (config.port, config.host) == (1004, "real")


def test_an_empty_dotenv_or_file_says_nothing(load: Loader) -> None:
    load.write(".env", "\n")
    load.write("c.toml", "")
    assert load(["--config=c.toml"]).port == 3000


def test_empty_means_unset(load: Loader) -> None:
    assert load(["--api.host="], {"EENGINE_PORT": ""}).port == 3000


def test_every_variable_can_lie_in_a_file(load: Loader) -> None:
    load.write("auth", "user:pass word\n")
    config = load(environ={"EENGINE_AUTH_FILE": "auth"})
    assert config.auth is not None
    assert (config.auth.user, config.auth.password.get_secret_value()) == ("user", "pass word")


def test_a_file_in_the_environment_beats_a_value_in_dotenv(load: Loader) -> None:
    load.write(".env", "EENGINE_AUTH=a:b\n")
    load.write("auth", "c:d")
    config = load(environ={"EENGINE_AUTH_FILE": "auth"})
    assert config.auth is not None
    assert config.auth.user == "c"


def test_a_variable_and_its_file_at_once_is_a_mistake(load: Loader) -> None:
    load.write("auth", "c:d")
    (problem,) = load.problems(environ={"EENGINE_AUTH_FILE": "auth", "EENGINE_AUTH": "a:b"})
    assert "keep one of them" in problem


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "can't read"), (b"", "is empty"), (b"\xff\xfe", "not UTF-8"), (b"x" * 2**20 + b"y", "larger")],
)
def test_a_file_that_can_not_be_used_says_why(load: Loader, content: bytes | None, why: str) -> None:
    if content is not None:
        (load.directory / "f").write_bytes(content)
    problems = load.problems(environ={"EENGINE_AUTH_FILE": "f"})
    assert any(why in problem and problem.startswith("EENGINE_AUTH_FILE") for problem in problems)


def test_the_secret_file_is_a_path_to_read_again_and_not_its_content(load: Loader) -> None:
    path = load.write("secret", "geheim")
    config = load(environ={"EENGINE_SECRET_FILE": "secret"})
    assert config.secret_file == path
    assert config.secret is None


def test_paths_are_relative_to_the_working_directory(load: Loader) -> None:
    config = load(["--service.dataDir", "here"])
    assert config.data_dir == load.directory / "here"
    assert config.given_data_dir == config.data_dir


def test_the_file_may_be_named_by_the_environment(load: Loader) -> None:
    load.write("c.toml", "[workers]\nimap = 7\n")
    assert load(environ={"NODE_CONFIG_PATH": "c.toml"}).workers_imap == 7


def test_prepared_settings_may_be_a_table_of_the_file(load: Loader) -> None:
    load.write("c.toml", '[settings]\nwebhooks = "http://localhost/"\nnotifyText = true\n')
    assert load(["--config", "c.toml"]).settings == '{"webhooks":"http://localhost/","notifyText":true}'


def test_everything_that_is_wrong_is_told_at_once(load: Loader) -> None:
    load.write("c.toml", 'nonsense = 1\n[api]\nport = true\nmaxSize = "5X"\n')
    problems = load.problems(
        ["--config=c.toml", "--no.such", "x", "stray", "--log.level", "loud", "--dbs.redis"],
        {
            "EENGINE_TIMEOUT": "soon",
            "EENGINE_NATS": "http://x",
            "EENGINE_SMTP_TLS": "implicit",
            "VAULT_ADDR": "http://v:1",
        },
    )
    text = "\n".join(problems)
    for word in (
        "nonsense: is not a known option",
        "api.port",
        'api.maxSize: "X"',
        "--no.such: is not a known option",
        "stray",
        "--log.level: has to be one of",
        "--dbs.redis: needs a value",
        "EENGINE_TIMEOUT",
        "EENGINE_NATS",
        "EENGINE_SMTP_TLS: needs EENGINE_SMTP_TLS_CERT_FILE too",
        "VAULT_ADDR: needs VAULT_ROLE_ID, VAULT_SECRET_ID, VAULT_PATH too",
    ):
        assert word in text, f"{word} not in\n{text}"


@pytest.mark.parametrize(
    "variable",
    [
        "EENGINE_CORS_ORIGIN",
        "EENGINE_LOG_RAW",
        "EENGINE_PREPARED_TOKEN",
        "EENGINE_PREPARED_TOKEN_FILE",
        "EENGINE_API_TLS_KEY",
    ],
)
def test_variables_whose_feature_is_missing_are_refused_by_name(load: Loader, variable: str) -> None:
    assert load.problems(environ={variable: "x"}) == (f"{variable}: is not available in this version",)


@pytest.mark.parametrize("option", ["--preparedToken", "--workers.webhooks", "--log.raw", "--imap-proxy.enabled"])
def test_options_whose_feature_is_missing_are_refused_by_name(load: Loader, option: str) -> None:
    assert load.problems([f"{option}=1"]) == (f"{option}: is not available in this version",)


def test_a_name_with_a_typing_error_is_a_warning(load: Loader) -> None:
    assert load(environ={"EENGINE_PROT": "3001", "PATH": "x"}).warnings == (
        "EENGINE_PROT: is not a known setting and has no effect",
    )


def test_secrets_never_show_in_a_message_or_a_repr(load: Loader) -> None:
    environ = {"EENGINE_SECRET": "s3cr3t", "EENGINE_REDIS": "redis://:s3cr3t@h/0", "EENGINE_AUTH": "u:s3cr3t"}
    assert "s3cr3t" not in repr(load(environ=environ))
    bad = {"EENGINE_REDIS": "http://:s3cr3t@h", "EENGINE_NATS": "nats://u:s3cr3t@", "EENGINE_AUTH": "s3cr3t"}
    assert "s3cr3t" not in "\n".join(load.problems(environ=bad))


def test_the_table_of_the_readme_lists_every_option() -> None:
    table = config_table()
    assert "| `EENGINE_PORT` | `--api.port` | `3000` |" in table
    assert "`10s`" in table
    assert len(table.splitlines()) == 2 + len(Config.model_fields) - 1
