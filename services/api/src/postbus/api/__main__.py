"""`python -m postbus.api`."""

from postbus.api.service import main

main()
