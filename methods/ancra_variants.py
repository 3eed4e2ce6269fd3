"""ANCRA over each base objective, and its ablations: contrast only (``*-anc``), reverse attention only (``*-ra``)."""

from dataclasses import dataclass

from harness.api.method import method
from methods.ancra import Ancra, NegativeContrast, ReverseAttention
from methods.mart import Mart
from methods.pgd_at import PgdAt
from methods.trades import Trades


@method("pgd-at-ancra")
@dataclass(frozen=True, kw_only=True)
class PgdAtAncra(Ancra, PgdAt):
    """ANCRA over PGD-AT."""

    summary = "PGD-AT with negative contrast and reverse attention"


@method("trades-ancra")
@dataclass(frozen=True, kw_only=True)
class TradesAncra(Ancra, Trades):
    """ANCRA over TRADES."""

    summary = "TRADES with negative contrast and reverse attention"


@method("mart-ancra")
@dataclass(frozen=True, kw_only=True)
class MartAncra(Ancra, Mart):
    """ANCRA over MART."""

    summary = "MART with negative contrast and reverse attention"


@method("pgd-at-anc")
@dataclass(frozen=True, kw_only=True)
class PgdAtAnc(NegativeContrast, PgdAt):
    """PGD-AT with negative contrast on a plain model."""

    summary = "ablation: PGD-AT with negative contrast only"
    group = "ablations"


@method("pgd-at-ra")
@dataclass(frozen=True, kw_only=True)
class PgdAtRa(ReverseAttention, PgdAt):
    """PGD-AT on a model with reverse attention."""

    summary = "ablation: PGD-AT with reverse attention only"
    group = "ablations"


@method("trades-anc")
@dataclass(frozen=True, kw_only=True)
class TradesAnc(NegativeContrast, Trades):
    """TRADES with negative contrast on a plain model."""

    summary = "ablation: TRADES with negative contrast only"
    group = "ablations"


@method("trades-ra")
@dataclass(frozen=True, kw_only=True)
class TradesRa(ReverseAttention, Trades):
    """TRADES on a model with reverse attention."""

    summary = "ablation: TRADES with reverse attention only"
    group = "ablations"


@method("mart-anc")
@dataclass(frozen=True, kw_only=True)
class MartAnc(NegativeContrast, Mart):
    """MART with negative contrast on a plain model."""

    summary = "ablation: MART with negative contrast only"
    group = "ablations"


@method("mart-ra")
@dataclass(frozen=True, kw_only=True)
class MartRa(ReverseAttention, Mart):
    """MART on a model with reverse attention."""

    summary = "ablation: MART with reverse attention only"
    group = "ablations"
