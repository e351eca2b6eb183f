"""The REST API: HTTP in, commands and jobs out."""
