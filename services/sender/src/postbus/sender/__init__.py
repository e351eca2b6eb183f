"""SMTP delivery of accepted submissions."""
