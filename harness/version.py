"""The package version, and the version of the numerics that job identities depend on."""

__version__ = "0.1.0"

# Part of every job's identity. Raise it when a change makes the same spec give other numbers.
NUMERICS_VERSION = 1
