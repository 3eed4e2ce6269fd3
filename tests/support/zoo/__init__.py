"""Broken defences that look robust and are not, each by a known mechanism, beside honest models.

For tests of the evaluation, not for use. Each defence keeps the accuracy on clean images and hides what an attacker
needs; ``truth`` says what is behind it.
"""

from zoo.bases import Bases
from zoo.broken import BROKEN
from zoo.honest import HONEST
from zoo.member import Member
from zoo.running import ATTACKS, THREAT, Row, evaluate_member, truth_of

__all__ = ["ATTACKS", "BROKEN", "HONEST", "THREAT", "Bases", "Member", "Row", "evaluate_member", "truth_of"]
