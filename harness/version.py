"""The package version, and the versions of the numerics that job identities depend on."""

__version__ = "0.2.0.dev0"

# Part of every job's identity. Raise one when a change makes the same spec give other numbers.
TRAINING_NUMERICS = 5
EVALUATION_NUMERICS = 9
