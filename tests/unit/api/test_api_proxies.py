"""Contract, section 31: the proxy of an account; its login is a secret like others."""

from typing import Any

import pytest
from pydantic import ValidationError

from postbus.api.account_changes import Changed, changed_account, new_account
from postbus.api.account_view import account_view
from postbus.api.routes.settings import settings_changes, shown_setting
from postbus.api.schemas.accounts import AccountChange, AccountInput
from postbus.common.accounts import Account
from postbus.common.errors import BadInput
from postbus.common.service_settings import ServiceSettings
from postbus.common.store.accounts import new_generation

URL = "socks5://anna:s3cret@proxy.test:1080"
MASKED = "socks5://anna:******@proxy.test:1080"


def registered(**more: Any) -> Changed:
    return new_account("a", AccountInput.model_validate({"account": "a", "name": "N", **more}))


def changed(before: Changed, **change: Any) -> Changed:
    return changed_account(before.record, set(), AccountChange.model_validate(change))


def test_the_record_of_a_proxy_has_no_password_and_the_whole_is_a_secret() -> None:
    new = registered(proxy=URL)
    assert (new.record.proxy, new.secrets) == (MASKED, {"proxy": URL})
    assert "s3cret" not in new.record.model_dump_json()
    assert account_view(Account("a", new.record, new_generation(), 0))["proxy"] == MASKED


def test_a_proxy_without_a_login_is_no_secret() -> None:
    again = changed(registered(proxy=URL), proxy="http://proxy.test:3128")
    assert (again.record.proxy, again.secrets) == ("http://proxy.test:3128", {"proxy": None})


def test_a_masked_proxy_that_comes_back_changes_nothing() -> None:
    again = changed(registered(proxy=URL), proxy=MASKED)
    assert (again.record.proxy, again.secrets) == (MASKED, {})


def test_a_mask_never_takes_a_stored_password_to_another_proxy() -> None:
    with pytest.raises(BadInput) as caught:
        changed(registered(proxy=URL), proxy=MASKED.replace("proxy.test", "evil.test"))
    assert [problem["key"] for problem in caught.value.fields] == ["proxy"]


@pytest.mark.parametrize("nothing", ["", None])
def test_an_empty_proxy_is_none_of_its_own(nothing: str | None) -> None:
    again = changed(registered(proxy=URL), proxy=nothing)
    assert (again.record.proxy, again.secrets) == (None, {"proxy": None})


@pytest.mark.parametrize("url", ["ftp://proxy.test", "proxy.test:1080", "http://proxy.test/path", 5])
def test_what_is_no_proxy_is_refused(url: Any) -> None:
    with pytest.raises(ValidationError):
        registered(proxy=url)


def test_the_global_proxy_is_shown_masked_and_survives_its_mask() -> None:
    current = ServiceSettings(proxy_url=URL, proxy_enabled=True)
    assert shown_setting(current, "proxyUrl") == MASKED
    given = ServiceSettings.model_validate({"proxyUrl": MASKED, "proxyEnabled": "Y"})
    assert settings_changes(current, given) == {"proxyEnabled": True}
