"""What RobustBench's leaderboard is given in words and numbers; reads the store, and knows no torch."""

from reports.submission.forms import Made, weights_path, written
from reports.submission.measured import Measured, measured
from reports.submission.paper import Paper
from reports.submission.rules import refusals

__all__ = ["Made", "Measured", "Paper", "measured", "refusals", "weights_path", "written"]
