"""Is this machine ready? Each check says what it saw and, where something is wrong, what to do."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Inspection:
    """One finding of the doctor."""

    name: str
    state: Literal["ok", "note", "fail"]
    text: str


def examine(workspace: Path, data_root: Path) -> Iterator[Inspection]:
    """Run every check; one that raises is a failed check, not the end."""
    checks: dict[str, Callable[[], tuple[Literal["ok", "note", "fail"], str]]] = {
        "python": lambda: ("ok", platform.python_version()),
        "torch": _torch,
        "device": _device,
        "precision": _precision,
        "autoattack": lambda: ("ok", f"pyautoattack {version('pyautoattack')}"),
        "plugins": _plugins,
        "robustbench": _robustbench,
        "attacks": _self_test,
        "workspace": lambda: _writable(workspace),
        "data": lambda: _writable(data_root),
    }
    for name, check in checks.items():
        try:
            state, text = check()
        except Exception as error:
            state, text = "fail", f"{type(error).__name__}: {error}"
        yield Inspection(name, state, text)


def _torch() -> tuple[Literal["ok"], str]:
    import torch

    return (
        "ok",
        f"{torch.__version__}, CUDA build {torch.version.cuda or 'none'}, {torch.get_num_threads()} threads",
    )


def _device() -> tuple[Literal["ok", "note"], str]:
    import torch

    from harness.run.executors.slots import default_slots

    slots = default_slots()
    where = f"{len(slots)} jobs at once on {', '.join(dict.fromkeys(slot.device for slot in slots))}"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return "ok", f"{', '.join(names)}; {where}"
    return "note", f"no GPU is visible: enough for digits, too little for CIFAR; {where} ({os.cpu_count()} cores)"


def _precision() -> tuple[Literal["ok"], str]:
    """What ``protocol.precision=auto`` stands for on each device."""
    from harness.compute.precision import device_speedup, in_words, preferred
    from harness.run.executors.slots import default_slots

    found = []
    for device in dict.fromkeys(slot.device for slot in default_slots()):
        speedup = device_speedup(device)
        found.append(f"{device}: {preferred(speedup)} ({in_words(speedup)})")
    return "ok", "; ".join(found)


def _robustbench() -> tuple[Literal["ok"], str]:
    from harness.library.robustbench_compat import load

    load()
    return "ok", f"robustbench {version('robustbench')} imports"


def _plugins() -> tuple[Literal["ok", "fail"], str]:
    from harness.plugins import REGISTRIES, load_plugins, skipped

    load_plugins()
    if skipped:
        return "fail", f"{'; '.join(skipped.values())}: mend or uninstall it"
    counts = {registry.kind: len(list(registry)) for registry in REGISTRIES.values()}
    return "ok", ", ".join(f"{count} {kind}s" for kind, count in counts.items())


def _self_test() -> tuple[Literal["ok", "fail"], str]:
    """A linear model whose margin is known: FGSM must flip it just beyond the margin and not before."""
    import torch

    from harness.api.threat import Threat
    from harness.library.evaluate import evaluate

    linear = torch.nn.Linear(4, 2)
    linear.load_state_dict({"weight": torch.tensor([[0.0] * 4, [1.0] * 4]), "bias": torch.tensor([0.0, -2.0])})
    model = torch.nn.Sequential(torch.nn.Flatten(), linear)
    x, y = torch.full((1, 1, 2, 2), 0.6), torch.tensor([1])  # margin 0.4, so Linf distance 0.1
    inside, outside = (evaluate(model, x, y, threat=Threat("Linf", eps), attacks=["fgsm"]) for eps in (0.09, 0.11))
    if (inside.accuracy["fgsm"], outside.accuracy["fgsm"]) != (1.0, 0.0):
        return "fail", "FGSM disagrees with a closed form: this installation computes wrong numbers"
    return "ok", "FGSM agrees with a closed form"


def _writable(path: Path) -> tuple[Literal["ok", "note", "fail"], str]:
    existing = next(parent for parent in (path.resolve(), *path.resolve().parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        return "fail", f"{path} cannot be written: choose another with --workspace or --data-root"
    free = shutil.disk_usage(existing).free / 2**30
    return ("ok" if free > 5 else "note"), f"{path}, {free:.0f} GiB free"
