"""`python -m postbus.webhooks`."""

from postbus.webhooks.service import main

main()
