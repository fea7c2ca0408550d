"""Rules of the unit tests."""

from hypothesis import settings

# What is slow says nothing here: the machine may be busy with something else.
settings.register_profile("pskernel", deadline=None)
settings.load_profile("pskernel")
