"""Contract, `settings.json`: what the settings accept, refuse and mean."""

import pydantic
import pytest

from postbus.common.service_settings import SETTING_NAMES, ServiceSettings


def settings(**values: object) -> ServiceSettings:
    return ServiceSettings.model_validate(values)


@pytest.mark.parametrize("value", [True, "Y", "true", "1", "on", 1, " TRUE "])
def test_many_words_say_yes(value: object) -> None:
    assert settings(notifyText=value).notify_text is True


@pytest.mark.parametrize("value", [False, "N", "false", "0", "", 0])
def test_and_many_say_no(value: object) -> None:
    assert settings(notifyText=value).notify_text is False


@pytest.mark.parametrize("value", ["maybe", 2, [], {}, "yes please"])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(pydantic.ValidationError):
        settings(notifyText=value)


@pytest.mark.parametrize("url", ["ftp://x", "x", "//host", "http://", "javascript:alert(1)"])
def test_an_address_has_to_be_one(url: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        settings(webhooks=url)


@pytest.mark.parametrize("url", ["http://x/\r\nX-A: b", " http://x", "http://x/\n", "http://x/a b", "http://x/\t"])
def test_an_address_holds_no_line_breaks_and_spaces(url: str) -> None:
    for name in ("webhooks", "authServer", "serviceUrl"):
        with pytest.raises(pydantic.ValidationError):
            settings(**{name: url})


def test_an_address_is_kept_as_it_was_written() -> None:
    assert (
        settings(webhooks="https://user:p%40ss@Example.com/Hook?x=1").webhooks
        == "https://user:p%40ss@Example.com/Hook?x=1"
    )


def test_a_setting_nobody_knows_is_refused() -> None:
    with pytest.raises(pydantic.ValidationError):
        settings(notKnown=True)


@pytest.mark.parametrize(
    "header", [{"key": "X-A\r\nX-B", "value": "x"}, {"key": "X-A", "value": "x\r\ny"}, {"key": ""}]
)
def test_headers_that_would_inject_others_are_refused(header: dict[str, str]) -> None:
    with pytest.raises(pydantic.ValidationError):
        settings(webhooksCustomHeaders=[header])


def test_webhooks_are_on_unless_switched_off_or_without_a_target() -> None:
    assert settings(webhooks="http://localhost/").effective_webhooks == "http://localhost/"
    assert settings(webhooks="http://localhost/", webhooksEnabled=False).effective_webhooks is None
    assert settings(webhooks="").effective_webhooks is None
    assert settings().effective_webhooks is None


def test_all_events_are_wanted_unless_some_are_named() -> None:
    assert settings().wants_event("messageNew")
    assert settings(webhookEvents=["*"]).wants_event("messageNew")
    assert settings(webhookEvents=["messageSent"]).wants_event("messageSent")
    assert not settings(webhookEvents=["messageSent"]).wants_event("messageNew")
    assert not settings(webhookEvents=[]).wants_event("messageNew")


def test_the_text_is_notified_unless_switched_off() -> None:
    assert settings().effective_notify_text
    assert not settings(notifyText=False).effective_notify_text
    assert settings().effective_notify_text_size == 2_097_152
    assert settings(notifyTextSize=0).effective_notify_text_size == 0


def test_public_names_lead_to_the_fields() -> None:
    assert SETTING_NAMES["webhooksEnabled"] == "webhooks_enabled"
    assert len(SETTING_NAMES) == len(ServiceSettings.model_fields)


@pytest.mark.parametrize("name", ["", "sub\r\nject", "a) BODY[]", "naïve", "a:b"])
def test_header_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        ServiceSettings.model_validate({"notifyHeaders": [name]})


def test_all_headers_may_be_asked_for() -> None:
    assert ServiceSettings.model_validate({"notifyHeaders": ["*"]}).notify_headers == ["*"]


def test_the_indexer_is_full_or_fast() -> None:
    assert settings(imapIndexer=" fast ").imap_indexer == "fast"
    assert settings().imap_indexer is None
    with pytest.raises(pydantic.ValidationError):
        settings(imapIndexer="faster")
