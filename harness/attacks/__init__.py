"""The attacks: a plugin module that registers every built-in one, and :func:`resolve`, which reads their names.

One file for each name that users type; ``search`` holds what they are made of. An attack knows a model, images and a
threat; it must not know who judges it or where the model comes from.
"""

from harness.attacks import adaptive, autoattack, autoattack_fast, cw, fgsm, natural, pgd, reference
from harness.attacks.names import family, resolve

__all__ = [
    "adaptive",
    "autoattack",
    "autoattack_fast",
    "cw",
    "family",
    "fgsm",
    "natural",
    "pgd",
    "reference",
    "resolve",
]
