"""How values are written for people; one place, so that tables, filters and messages agree."""


def threat_label(norm: str, eps: float) -> str:
    """A threat as ``Linf 8/255`` or ``Linf 0.2``; ``eps`` is in units of a [0, 1] image.

    Only an Linf radius of at most 32 whole grey levels is written as a fraction.
    """
    levels = eps * 255
    if norm == "Linf" and levels <= 32 and abs(levels - round(levels)) < 1e-3:
        return f"{norm} {round(levels)}/255"
    return f"{norm} {eps:.4g}"
