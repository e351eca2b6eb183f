"""Where the facts are."""

from pathlib import Path

FACTS = Path(__file__).resolve().parents[1] / "facts"
API_SHAPE = FACTS / "openapi-shape.json"
WEBHOOKS = FACTS / "webhooks.json"
SETTINGS = FACTS / "settings.json"
