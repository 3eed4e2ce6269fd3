"""A state dict as published checkpoints wrap it: keys around it, prefixes before its names, entries beside it."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, equal
from torch.nn.parameter import is_lazy

from harness.api.errors import HarnessError
from harness.compute.weight_files import Inert, refuse_objects

# Under which the weights lie in a checkpoint, the first that is there.
_PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
_KEYS = (*_PLAIN, "state_dict_ema", "model_ema", "ema")
# What DataParallel, torch.compile, Lightning and wrappers with normalisation put before every name.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
# Of these, what stands before the names of a part too.
_ANYWHERE = re.compile(r"(?<![^.])(module|_orig_mod)\.")
# What a loss keeps, such as the classes' weights: it takes no part in the answer.
_LOSS = re.compile(r"(criterion|loss)(es|_[a-z]+)?\.")


class Unwrapped(NamedTuple):
    """The state dict, what was taken off it, in words, and the names that were left out of it."""

    state: dict[str, Any]
    taken_off: list[str]
    left_out: list[str]


def unwrapped(path: Path, loaded: Any, wanted: Mapping[str, Any]) -> Unwrapped:
    """The weights in ``loaded`` under names as ``wanted`` by a model, as far as taking wrappings off brings them there.

    Left out is what cannot be the model's: what lies beside it in a wrapper, a loss, and what is no tensor.

    Raises:
        HarnessError: if there is no state dict in it.
    """
    state, keys = loaded, []
    while isinstance(state, Mapping) and not _holds_weights(state):
        key = next((key for key in _KEYS if isinstance(state.get(key), Mapping | Inert)), None)
        if key is None:
            break
        keys.append(key)
        state = state[key]
    if isinstance(state, Inert):
        raise refuse_objects(path, state.kind)
    if not isinstance(state, Mapping) or not _holds_weights(state):
        raise HarnessError(f"weights file {path} must hold a state dict, got {_described(loaded)}")
    if odd := [name for name in state if not isinstance(name, str)]:
        raise HarnessError(f"weights file {path} must hold a state dict with texts for names, got the name {odd[0]!r}")
    taken = [f"what lies under {'.'.join(map(repr, keys))}"] if keys else []
    best = max(_candidates(dict(state), wanted), key=lambda each: len(each.state.keys() & wanted.keys()))
    beside = [name for name, value in best.state.items() if name not in wanted and _is_beside(name, value)]
    kept = {name: value for name, value in best.state.items() if name not in beside}
    return Unwrapped(kept, taken + best.taken_off, best.left_out + beside)


def _holds_weights(state: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Tensor) for value in state.values()) and not any(
        isinstance(state.get(key), Mapping) for key in _KEYS
    )


def _is_beside(name: str, value: Any) -> bool:
    return not isinstance(value, Tensor) or bool(_LOSS.match(name))


def _candidates(state: dict[str, Any], wanted: Mapping[str, Any]) -> Iterator[Unwrapped]:
    """What lies under each chain of prefixes, the shorter first, then the same without wrappers of its parts."""
    chains: list[tuple[str, ...]] = [()]
    for chain in chains:
        chains += [(*chain, each) for each in _PREFIXES if any(n.startswith("".join((*chain, each))) for n in state)]
    under = [_under(chain, state) for chain in chains]
    yield from under
    ours = {_ANYWHERE.sub("", name): name for name in wanted}
    for state, taken, left in under:
        plain = {_ANYWHERE.sub("", name): value for name, value in state.items()}
        if len(plain) == len(state) and len(ours) == len(wanted):  # no two become one
            renamed = {ours.get(name, name): value for name, value in plain.items()}
            yield Unwrapped(renamed, [*taken, "the names of parts without 'module.' and '_orig_mod.'"], left)


def _under(chain: tuple[str, ...], state: Mapping[str, Any]) -> Unwrapped:
    prefix = "".join(chain)
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    outside: dict[str, list[str]] = defaultdict(list)
    for name in state:
        if not name.startswith(prefix):
            outside[_branch(name, prefix)].append(name)
    left = [names[0] if len(names) == 1 else f"{branch}.*" for branch, names in outside.items()]
    return Unwrapped(inside, [f"names without {each!r}" for each in chain], left)


def _branch(name: str, prefix: str) -> str:
    """The beginning of the name, up to where it leaves the prefix."""
    parts, others = name.split("."), prefix.split(".")
    shared = next(i for i, (part, other) in enumerate(zip(parts, others, strict=False)) if part != other)
    return ".".join(parts[: shared + 1])


def _described(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        return f"a mapping with the keys {', '.join(map(str, list(loaded)[:6])) or 'none'}"
    return type(loaded).__name__


def tied(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """What is missing in a file although it is there, under the other name of a tensor that has two in the model."""
    there = {_place(value): theirs[name] for name, value in ours.items() if name in theirs}
    return {
        name: there[place] for name, value in ours.items() if name not in theirs and (place := _place(value)) in there
    }


def _place(tensor: Any) -> Any:
    """Where its values lie: equal for what is one tensor under two names."""
    try:
        return (tensor.data_ptr(), tuple(tensor.shape), tensor.stride()) if tensor.data_ptr() else id(tensor)
    except (AttributeError, RuntimeError, ValueError):  # no tensor, or one without its values in one place
        return id(tensor)


def misfit(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """What torch would load without a word although the model would be another one."""
    first: dict[Any, str] = {}
    for name, our in ours.items():
        their = theirs.get(name)
        if not isinstance(their, Tensor) or not isinstance(our, Tensor):
            continue
        if our.is_floating_point() and not their.is_floating_point():
            return f"{name} is {their.dtype} in the file and {our.dtype} in the model"
        other = first.setdefault(_place(our), name)
        if other != name and not their.is_meta and not equal(their, theirs[other].to(their.dtype)):
            return f"{other} and {name} differ in the file, but are one tensor in the model"
    return None


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """How a file's state dict differs from a model's, by the first names that do; None if it does not seem to."""
    present = theirs.keys() | tied(theirs, ours).keys()
    missing, unexpected = sorted(ours.keys() - present), sorted(theirs.keys() - ours.keys())
    if missing or unexpected:
        return f"missing {missing[:3]}, unexpected {unexpected[:3]}"
    tensors = {
        name: our for name, our in ours.items() if isinstance(our, Tensor) and not is_lazy(our) and name in theirs
    }
    for name in tensors:
        if not isinstance(theirs[name], Tensor):
            kind = getattr(theirs[name], "kind", type(theirs[name]).__name__)
            return f"{name} in the file is no tensor but of type {kind}"
    shapes = {name: (tuple(theirs[name].shape), tuple(our.shape)) for name, our in tensors.items()}
    differing = {name: pair for name, pair in shapes.items() if pair[0] != pair[1]}
    for name, (their, our) in differing.items():
        last = [each.rpartition(".")[0] for each in shapes if each.endswith(("weight", "bias"))][-1:]
        only_last = all([each.rpartition(".")[0]] == last and t[1:] == o[1:] for each, (t, o) in differing.items())
        hint = f": made for {their[0]} classes, not {our[0]}?" if only_last and their and our else ""
        return f"{name} is {their} in the file and {our} in the model{hint}"
    if meta := next((name for name in tensors if theirs[name].is_meta), None):
        return f"{meta} has no values in the file (it was saved on the meta device)"
    return None
