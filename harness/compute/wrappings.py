"""A state dict as published checkpoints wrap it: keys around it, prefixes before its names."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from harness.api.errors import HarnessError

# Under which the weights lie in a checkpoint, the first that is there.
_PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
_KEYS = (*_PLAIN, "state_dict_ema", "model_ema", "ema")
# What DataParallel, torch.compile, Lightning and wrappers with normalisation put before every name.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")


class Unwrapped(NamedTuple):
    """The state dict, and what was taken off it, in words."""

    state: dict[str, Tensor]
    taken_off: list[str]


def unwrapped(path: Path, loaded: Any, wanted: Mapping[str, Tensor]) -> Unwrapped:
    """The weights in ``loaded`` under names as ``wanted`` by a model, as far as taking wrappings off brings them there.

    Raises:
        HarnessError: if there is no state dict in it.
    """
    state, keys = loaded, []
    while isinstance(state, Mapping) and not _holds_weights(state):
        key = next((key for key in _KEYS if isinstance(state.get(key), Mapping)), None)
        if key is None:
            break
        keys.append(key)
        state = state[key]
    if not isinstance(state, Mapping) or not _holds_weights(state):
        raise HarnessError(f"weights file {path} must hold a state dict, got {_described(loaded)}")
    taken = [f"what lies under {'.'.join(map(repr, keys))}"] if keys else []
    best = max(_without_prefixes(dict(state)), key=lambda each: len(each.state.keys() & wanted.keys()))
    return Unwrapped(best.state, taken + best.taken_off)


def _holds_weights(state: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Tensor) for value in state.values()) and not any(
        isinstance(state.get(key), Mapping) for key in _KEYS
    )


def _without_prefixes(state: dict[str, Any]) -> Iterator[Unwrapped]:
    """As it is, then without one prefix after another, as long as most names have it."""
    taken: list[str] = []
    yield Unwrapped(state, list(taken))
    while prefix := next((each for each in _PREFIXES if _common(each, state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        taken.append(f"names without {prefix!r}")
        yield Unwrapped(state, list(taken))


def _common(prefix: str, state: Mapping[str, Any]) -> bool:
    return 2 * sum(name.startswith(prefix) for name in state) > len(state)


def _described(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        return f"a mapping with the keys {', '.join(map(str, list(loaded)[:6])) or 'none'}"
    return type(loaded).__name__


def difference(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> str:
    """How a file's state dict differs from a model's, by the first names that do."""
    missing, unexpected = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
    if missing or unexpected:
        return f"missing {missing[:3]}, unexpected {unexpected[:3]}"
    shapes = ((name, tuple(theirs[name].shape), tuple(value.shape)) for name, value in ours.items())
    name, their, our = next(each for each in shapes if each[1] != each[2])
    hint = f": made for {their[0]} classes, not {our[0]}?" if their[1:] == our[1:] and their[0] != our[0] else ""
    return f"{name} is {their} in the file and {our} in the model{hint}"
