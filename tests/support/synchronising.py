"""Which operations make a host wait for its GPU, seen on any device."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Their outcome is a number for Python, or a tensor whose size depends on values.
_WAITING = {"_local_scalar_dense", "equal", "is_nonzero", "masked_select", "nonzero", "repeat_interleave", "_unique2"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Synchronisations(TorchDispatchMode):
    """Counts, in ``names``, the operations for which a GPU would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = name in _INDEXING and any(each is not None and each.dtype == torch.bool for each in args[1])
        if masks or name in _WAITING:
            self.names.append(name)
        return func(*args, **(kwargs or {}))
