"""Hold captured webhook deliveries to the contract."""

from collections.abc import Iterable
from typing import Any

from tests.contract.checker.check_webhook import judge


def assert_deliveries_fit(deliveries: Iterable[dict[str, Any]], secret: str | None = None) -> None:
    """Fail with every fault of the deliveries: `{"headers": {...}, "body": "text as sent"}`, in the order of arrival.

    With the `serviceSecret` of the instance the signatures are checked, too.
    """
    verdicts = judge(deliveries, secret)
    faults = [f"delivery {v.number}, {v.event}: {fault}" for v in verdicts for fault in v.faults]
    if faults:
        raise AssertionError("\n".join(faults))
