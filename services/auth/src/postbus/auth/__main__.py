"""`python -m postbus.auth`."""

from postbus.auth.service import main

main()
