"""Property tests: no limit of time for one example, as other work on the machine would break it now and then."""

from hypothesis import settings

settings.register_profile("postbus", deadline=None)
settings.load_profile("postbus")
