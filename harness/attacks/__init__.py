"""The attacks: a plugin module that registers every built-in one, and :func:`resolve`, which reads their names."""

from harness.attacks import adaptive, autoattack, cw, fgsm, natural, pgd, reference
from harness.attacks.named import family, resolve

__all__ = ["adaptive", "autoattack", "cw", "family", "fgsm", "natural", "pgd", "reference", "resolve"]
