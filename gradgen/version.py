"""The version, in one place: read by the build, by the header of every emitted file and by the cache's keys."""

__version__ = "0.1.0"
