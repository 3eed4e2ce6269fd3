"""The path of version 0.1 to :mod:`harness.api.method`, for plugins written then."""

from harness.api.method import LossTerms, Method, Paper, Step, method

__all__ = ["LossTerms", "Method", "Paper", "Step", "method"]
