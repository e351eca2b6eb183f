"""The public JSON: camelCase, as clients see it, with everything the docs page tells about a field."""
