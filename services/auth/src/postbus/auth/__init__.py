"""Keeps credentials fetched from elsewhere ready for those who log in."""
