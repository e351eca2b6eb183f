"""The specification of Postbus, as tests that run against real servers."""
