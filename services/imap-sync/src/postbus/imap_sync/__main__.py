"""`python -m postbus.imap_sync`."""

from postbus.imap_sync.service import main

main()
