"""Proxy URLs: what they mean, what is refused, and that neither errors nor values show a password."""

import pytest

from postbus.common.proxies import Proxy, ProxyKind, parse_proxy
from postbus.common.service_settings import ServiceSettings


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("socks5://proxy.test:1081", Proxy(ProxyKind.SOCKS5, "proxy.test", 1081)),
        ("socks://proxy.test", Proxy(ProxyKind.SOCKS5, "proxy.test", 1080)),
        ("socks4a://me@proxy.test/", Proxy(ProxyKind.SOCKS4, "proxy.test", 1080, "me")),
        ("http://u:p%40ss%3A@proxy.test", Proxy(ProxyKind.HTTP, "proxy.test", 80, "u", "p@ss:")),
        ("https://[2001:db8::1]", Proxy(ProxyKind.HTTPS, "2001:db8::1", 443)),
    ],
)
def test_a_proxy_url_says_what_is_spoken_with_whom(url: str, proxy: Proxy) -> None:
    assert parse_proxy(url) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "proxy.test:1080",
        "ftp://u:s3cret@proxy.test",
        "socks5://",
        "socks5://u:s3cret@proxy.test:0",
        "socks5://u:s3cret@proxy.test:99999",
        "http://u:s3cret@proxy.test/path",
        "http://u:s3cret@proxy.test?x",
        "http://u:s3cret@pro xy.test",
        "http://u:s3cret@proxy.test\r\nX: y",
        f"socks5://u:s3cret{'x' * 256}@proxy.test",
        "socks5://u:s3cret%00@proxy.test",
        f"http://u:s3cret@{'p' * 3000}",
        "http://u:s3cret@[::1",
    ],
)
def test_what_is_no_proxy_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^must") as caught:
        parse_proxy(url)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ValueError, match="proxyUrl") as wrong:
        ServiceSettings.model_validate({"proxyUrl": url})
    assert all("s3cret" not in problem["msg"] for problem in wrong.value.errors())  # type: ignore[attr-defined]


def test_a_proxy_shows_neither_user_nor_password() -> None:
    proxy = parse_proxy("socks5://anna:s3cret@proxy.test:1081")
    assert "anna" not in repr(proxy) and "s3cret" not in repr(proxy)
    assert (proxy.name, proxy.shown) == ("proxy.test:1081", "socks5://proxy.test:1081")
    assert parse_proxy("http://[::1]:8080").shown == "http://[::1]:8080"


def test_the_global_proxy_counts_only_while_it_is_switched_on() -> None:
    url = "http://proxy.test"
    assert ServiceSettings(proxy_url=url).effective_proxy is None
    assert ServiceSettings(proxy_url=url, proxy_enabled=True).effective_proxy == url
    assert ServiceSettings(proxy_url="", proxy_enabled=True).effective_proxy is None
