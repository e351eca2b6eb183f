"""What "compatible" means, as facts of the public API and checkers that hold our documents and deliveries to them."""

from tests.contract.coverage import assert_covers, differences
from tests.contract.deliveries import assert_deliveries_fit

__all__ = ["assert_covers", "assert_deliveries_fit", "differences"]
