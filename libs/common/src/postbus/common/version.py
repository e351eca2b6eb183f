"""The version of everything, in one place: the wheel, the API document and the User-Agent read it."""

__version__ = "0.1.0"

USER_AGENT = f"postbus/{__version__} (+https://github.com/postbus/postbus)"  # of every HTTP request we make
