"""Contract, section 31: which of our addresses a connection comes from."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from postbus.common.config import Config
from postbus.common.config_values import LocalAddress
from postbus.common.network import choose_local_address, is_ours
from postbus.common.service_settings import ServiceSettings

CONFIGURED = "127.0.0.1|one.example,127.0.0.2|two.example"
CHOSEN = ["127.0.0.2", "127.0.0.3", "192.0.2.1"]  # the last one is on no interface


@dataclass
class Current:
    current: ServiceSettings


@dataclass
class Parts:
    config: Config
    settings: Any
    secrets: Any = field(default=None)


def parts(configured: str = CONFIGURED, **settings: Any) -> Any:
    return Parts(Config(local_addresses=configured), Current(ServiceSettings.model_validate(settings)))


def drawn(of: Any, proto: Any = "imap") -> set[str | None]:
    found = [choose_local_address(of, proto, f"a{n}") for n in range(200)]
    return {one.ip if one else None for one in found}


def test_by_default_one_of_the_configured_addresses_is_drawn_if_there_are_any() -> None:
    assert drawn(parts()) == drawn(parts(localAddresses=CHOSEN)) == {"127.0.0.1", "127.0.0.2"}
    assert drawn(parts("", localAddresses=CHOSEN)) == drawn(parts("")) == {None}


def test_random_draws_one_of_the_chosen_addresses_that_are_ours() -> None:
    assert drawn(parts(localAddresses=CHOSEN, imapStrategy="random")) == {"127.0.0.2", "127.0.0.3"}
    assert drawn(parts(localAddresses=["192.0.2.1"], imapStrategy="random")) == {"127.0.0.1", "127.0.0.2"}


def test_each_protocol_has_its_own_strategy() -> None:
    given = parts("", localAddresses=CHOSEN, smtpStrategy="random")
    assert (drawn(given, "imap"), drawn(given, "smtp")) == ({None}, {"127.0.0.2", "127.0.0.3"})


def test_an_account_keeps_its_dedicated_address_and_another_address_moves_only_some() -> None:
    few = parts(localAddresses=["127.0.0.2", "127.0.0.3"], imapStrategy="dedicated")
    more = parts(localAddresses=["127.0.0.4", "127.0.0.2", "127.0.0.3"], imapStrategy="dedicated")
    before = {f"a{n}": choose_local_address(few, "imap", f"a{n}") for n in range(300)}
    assert before == {login: choose_local_address(few, "imap", login) for login in before}
    assert {one.ip for one in before.values() if one} == {"127.0.0.2", "127.0.0.3"}
    moved = [login for login in before if choose_local_address(more, "imap", login) != before[login]]
    assert {choose_local_address(more, "imap", login) for login in moved} == {LocalAddress("127.0.0.4")}
    assert 50 < len(moved) < 150


def test_an_address_of_the_configuration_keeps_its_name() -> None:
    given = parts(localAddresses=["127.0.0.2"], smtpStrategy="dedicated")
    assert choose_local_address(given, "smtp", "a") == LocalAddress("127.0.0.2", "two.example")


def test_a_wish_counts_where_it_is_one_of_the_candidates() -> None:
    given = parts(localAddresses=CHOSEN)
    for wish in ("127.0.0.1", "127.0.0.3"):
        assert choose_local_address(given, "smtp", "a", wish=wish) == LocalAddress(
            wish, "one.example" if wish == "127.0.0.1" else None
        )
    assert choose_local_address(parts(""), "smtp", "a", wish="127.0.0.1") is None


def test_ours_is_what_an_interface_has() -> None:
    assert is_ours("127.0.0.1")
    assert not is_ours("192.0.2.1") and not is_ours("2001:db8::1")


def test_one_address_is_a_list_of_one_and_what_is_none_is_refused() -> None:
    assert ServiceSettings.model_validate({"localAddresses": "127.0.0.1"}).local_addresses == ["127.0.0.1"]
    for wrong in ("localhost", "127.0.0.0/8", "fe80::1%eth0", ["127.0.0.1", "x"], [1]):
        with pytest.raises(ValidationError):
            ServiceSettings.model_validate({"localAddresses": wrong})


@pytest.mark.parametrize("change", [{"imapStrategy": "other"}, {"smtpEhloName": "a b"}, {"smtpEhloName": "a\r\nMAIL"}])
def test_unknown_strategies_and_names_that_are_none_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ServiceSettings.model_validate(change)
