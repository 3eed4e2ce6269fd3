"""Which operations make a host wait for its GPU, seen on any device, and steps to look at."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from oracles import untrained
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from harness.api.threat import Norm, Threat
from harness.attacks import resolve
from harness.attacks.search.cascade import Cascade
from harness.attacks.search.criterion import Criterion
from harness.attacks.search.searches import Searches
from harness.compute.modes import frozen

# Their outcome is a number for Python, or a tensor whose size depends on values.
_UNIQUE = {"_unique", "_unique2", "unique_dim", "unique_consecutive"}
_WAITING = {"_local_scalar_dense", "equal", "is_nonzero", "masked_select", "nonzero", "repeat_interleave", "bincount"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_COPYING = {"cpu", "numpy"}


class Synchronisations(TorchDispatchMode):
    """Counts, in ``names``, the operations for which a GPU would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.copies = _Copies(self.names)

    def __enter__(self) -> "Synchronisations":
        self.copies.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.copies.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = name in _INDEXING and any(each is not None and each.dtype == torch.bool for each in args[1])
        if masks or name in _WAITING | _UNIQUE:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


class _Copies(TorchFunctionMode):
    """A copy to where the tensor is already is no operation: it is seen where Python asks for it."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.names = names

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in _COPYING:
            self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


class Enough(Exception):
    """The steps in question are over."""


class Watched(nn.Module):
    """Calls ``begin`` when it is asked for the eighth time, and ends the search when it was asked twelve times more."""

    def __init__(self, inner: nn.Module, begin: Callable[[], Any]) -> None:
        super().__init__()
        self.inner, self.begin, self.asked = inner, begin, 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        if self.asked == 8:
            self.begin()
        if self.asked == 20:
            raise Enough
        logits: Tensor = self.inner(x)
        return logits


def _attack(name: str) -> Callable[[Searches, Tensor, Tensor], Any]:
    attack = resolve(name)
    return lambda s, x, y: attack(s.criterion.model, x, y, s.threat, generator=s.generator, views={})


SEARCHES: dict[str, Callable[[Searches, Tensor, Tensor], Any]] = {
    "pgd": _attack("pgd-20"),
    "cw": _attack("cw"),
    "apgd-ce": lambda s, x, y: s.auto_pgd(x, y, loss="cross-entropy"),
    "apgd-dlr": lambda s, x, y: s.auto_pgd(x, y, loss="dlr"),
    "apgd-t": lambda s, x, y: s.auto_pgd(x, y, loss="targeted dlr", ranks=(1, 2)),
    "adaptive": lambda s, x, y: s.auto_pgd(x, y, loss="cross-entropy", stand_in=untrained()[0].to(x.device)),
    "fab": lambda s, x, y: s.boundary(x, y, ranks=(1, 2)),
    "square": lambda s, x, y: s.random_squares(x, y),
    "cascade": lambda s, x, y: Cascade(20, ())(s.criterion.model, x, y, s.threat, generator=s.generator, views={}),
}


def watch(name: str, norm: Norm, device: torch.device, begin: Callable[[], Any]) -> None:
    """Run a search of :data:`SEARCHES` for some steps, in which some of 20 images fall, from ``begin()`` on."""
    model, x, y = untrained()
    watched = Watched(model, begin).to(device)
    x, y = x.to(device), y.to(device)
    threat, draws = Threat(norm, 0.02 if norm == "Linf" else 0.2), torch.Generator(device).manual_seed(0)
    with suppress(Enough), frozen(watched):
        SEARCHES[name](Searches(Criterion(watched, x), threat, draws), x, y)
    assert watched.asked == 20
