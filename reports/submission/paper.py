"""The paper that a submission belongs to, in words that the leaderboard can show."""

import re
from dataclasses import dataclass

from results.errors import HarnessError

_NAME = r"[A-Z][A-Za-z]*(?:19|20)\d\d[A-Z][A-Za-z0-9]*(?:_[A-Za-z0-9_]+)?"
_URL = r"https?://[^\s<>\"'\\]+"
_VENUE = r"N/A|\S.* (?:19|20)\d\d"


@dataclass(frozen=True)
class Paper:
    """``name`` identifies the model: ``NameYearFirstWord`` and, for one of several, ``_SUFFIX``.

    ``authors`` are separated by commas; ``venue`` ends in a year, or is ``N/A``. ``reported`` is the robust accuracy
    that the paper claims, in percent (None: what was measured here).

    Raises:
        HarnessError: for what RobustBench's own code or page would take for something else.
    """

    name: str
    title: str
    url: str
    authors: str
    venue: str
    reported: float | None = None

    def __post_init__(self) -> None:
        for option in ("title", "authors", "venue"):
            _check_text(option, getattr(self, option))
        _check("name", self.name, _NAME, "is NameYearFirstWord, such as Zhou2023Enhancing or Zhou2023Enhancing_RN18")
        _check("paper-url", self.url, _URL, "is a link, such as https://arxiv.org/abs/2310.03358")
        _check("venue", self.venue, _VENUE, "ends in a year, such as ICML 2020 or arXiv, Oct 2020, or is N/A")
        if re.search(r"\band\b|;|&", self.authors):
            raise HarnessError(
                f"--authors are separated by commas, such as Ada Lovelace, Alan Turing; got {self.authors!r}"
            )
        if self.reported is not None and not 0 <= self.reported <= 100:
            raise HarnessError(f"--reported is a robust accuracy in percent, from 0 to 100, got {self.reported}")


def _check(option: str, value: str, pattern: str, right: str) -> None:
    if not re.fullmatch(pattern, value, re.ASCII if option == "name" else 0):
        raise HarnessError(f"--{option} {right}; got {value!r}")


def _check_text(option: str, value: str) -> None:
    """RobustBench writes these into HTML, LaTeX and BibTeX as they are."""
    if not value.strip() or value != value.strip():
        raise HarnessError(f"--{option} must be a text without spaces around it, got {value!r}")
    wrong = sorted({char for char in value if char in "<>{}\\" or not char.isprintable()})
    if wrong:
        raise HarnessError(
            f"--{option} must not have {' '.join(map(repr, wrong))}, which RobustBench's page does not escape; "
            f"got {value!r}"
        )
