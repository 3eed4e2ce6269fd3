"""The built-in methods: importing this plugin module registers each of them, in the order in which users see them."""

# isort: off
from methods import natural, pgd_at, trades, mart, ancra_variants

__all__ = ["ancra_variants", "mart", "natural", "pgd_at", "trades"]
