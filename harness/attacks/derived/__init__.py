"""Views of models that nobody described: differentiable stand-ins derived from the forward pass itself.

``substitutes`` runs a model with other backward passes, ``views`` are the stand-ins, ``survey`` looks at a model and
``choice`` says which stand-ins can matter for it.
"""

from harness.attacks.derived.choice import derived_views, without_repeats

__all__ = ["derived_views", "without_repeats"]
