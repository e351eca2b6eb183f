"""`postbus up` and the admin commands."""
