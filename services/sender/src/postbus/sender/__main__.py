"""`python -m postbus.sender`."""

from postbus.sender.service import main

main()
