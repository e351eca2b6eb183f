"""Masks hide secrets, and never replace them when they come back."""

import pytest

from postbus.api.masking import is_masked_url, mask_headers, mask_url, unmask_headers
from postbus.common.accounts import CustomHeader


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://h/x", "https://h/x"),
        ("https://u:p@h:1/x?y#z", "https://u:******@h:1/x?y#z"),
        ("https://token@h/", "https://******@h/"),
        ("https://u:p@ss@h/", "https://u:******@h/"),
        ("http://[broken", "******"),
        ("", ""),
        (None, None),
    ],
)
def test_userinfo_is_masked_and_the_rest_kept(url: str | None, masked: str | None) -> None:
    assert mask_url(url) == masked
    if masked and masked != url:
        assert is_masked_url(masked)


def test_a_url_without_a_mask_in_its_userinfo_is_not_masked() -> None:
    assert not is_masked_url("https://h/******@x")
    assert not is_masked_url("https://u:p@h/")


def test_masked_header_values_come_back_as_what_they_stand_for() -> None:
    stored = [CustomHeader(key="X-A", value="1"), CustomHeader(key="X-B", value="")]
    shown = mask_headers(stored)
    assert shown == [{"key": "X-A", "value": "******"}, {"key": "X-B", "value": ""}]
    assert unmask_headers([*shown, {"key": "X-New", "value": "******"}], stored) == [
        {"key": "X-A", "value": "1"},
        {"key": "X-B", "value": ""},
    ]
