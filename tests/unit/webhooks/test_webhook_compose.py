"""Contract, `webhooks.json`: the request of one attempt."""

import base64
import hashlib
import hmac
import json
from urllib.parse import urlsplit

import pytest

from postbus.common.service_settings import HeaderSetting, ServiceSettings
from postbus.webhooks.compose import compose_body, compose_headers, is_object, parse_target, sign_standard
from postbus.webhooks.event_log import LoggedEvent
from postbus.webhooks.targets import AccountTarget, Target, choose_target

EVENT = LoggedEvent(7, "a", "messageNew", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", 1000.0, b'{"account":"a"}', {})


def test_the_body_is_service_url_and_then_the_event_as_it_is() -> None:
    assert compose_body(b'{"account":"a","x":1.0}', None) == b'{"serviceUrl":null,"account":"a","x":1.0}'
    assert json.loads(compose_body(b"{}", "https://x/")) == {"serviceUrl": "https://x/"}
    assert json.loads(compose_body(b"{ }", 'a"b')) == {"serviceUrl": 'a"b'}


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{"])
def test_what_is_no_object_is_told_apart(body: bytes) -> None:
    assert not is_object(body)


def test_userinfo_leaves_the_url_and_the_log() -> None:
    address = parse_target("https://us%3Aer:p%40ss@example.test:8443/hook?x=1")
    assert str(address.url) == "https://example.test:8443/hook?x=1"
    assert address.authorization == "Basic " + base64.b64encode(b"us:er:p@ss").decode()
    assert address.origin == "https://example.test:8443"


@pytest.mark.parametrize("target", ["", "hook", "ftp://x:hush@y/", "http://", "http://u:hush@x:99999/", "http://[::1"])
def test_a_target_that_is_no_web_address_is_refused_without_repeating_it(target: str) -> None:
    with pytest.raises(ValueError, match="the target is not") as caught:
        parse_target(target)
    assert "hush" not in str(caught.value)


def test_custom_headers_replace_ours_but_not_framing_identity_and_signature() -> None:
    custom = (
        ("User-Agent", "mine"), ("x-site", "global"), ("X-Site", "account"), ("Content-Length", "1"),
        ("Transfer-Encoding", "chunked"), ("x-ee-wh-signature", "forged"), ("Webhook-Id", "forged"),
    )  # fmt: skip
    target = Target("http://u:p@x/", (*custom, ("authorization", "Bearer t")), None, "secret")
    headers = compose_headers(EVENT, target, b"{}", attempt=2, now=1003.9)
    lower = {name.lower(): value for name, value in headers.items()}
    assert len(lower) == len(headers)
    assert lower["user-agent"] == "mine"
    assert lower["x-site"] == "account"
    assert lower["authorization"] == "Bearer t"
    assert lower["content-length"] == "2"
    assert "transfer-encoding" not in lower
    assert "forged" not in lower.values()
    assert lower["x-ee-wh-attempts-made"] == "2"
    assert lower["x-ee-wh-queued-time"] == "3s"


def test_standard_webhooks_signatures_take_their_own_secrets_decoded_and_ours_as_they_are() -> None:
    key = base64.b64encode(b"k" * 24).decode()
    for secret, raw in ((f"whsec_{key}", b"k" * 24), ("plain", b"plain"), ("whsec_*", b"whsec_*")):
        digest = hmac.new(raw, b"id.5.{}", hashlib.sha256).digest()
        assert sign_standard("id", 5, b"{}", secret) == "v1," + base64.b64encode(digest).decode()


def test_an_accounts_target_replaces_the_global_one_and_the_master_switch_stops_both() -> None:
    own = AccountTarget(True, "http://own/", (("b", "2"),))
    settings = ServiceSettings(webhooks="http://all/", webhooks_custom_headers=[HeaderSetting(key="a", value="1")])
    chosen = choose_target(settings, own)
    assert chosen is not None
    assert urlsplit(chosen.url).hostname == "own"
    assert chosen.headers == (("a", "1"), ("b", "2"))
    assert choose_target(ServiceSettings(), AccountTarget(True)) is None
    assert choose_target(settings.model_copy(update={"webhooks_enabled": False}), own) is None
