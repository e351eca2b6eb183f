"""The version of everything, in one place: the wheel, the API document and the User-Agent read it."""

__version__ = "0.1.0"
