"""Which precision is faster: of anything that is done to images, and of a device, measured once a machine."""

import hashlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from harness.api.specs import Precision
from harness.compute.files import save_text
from harness.compute.modes import computing_in, on_threads, to_channels_last
from harness.compute.randomness import seeded

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_CLEARLY = 1.1
_STEP, _GPU_STEP = 0.01, 0.05  # seconds in float32: shorter steps, most of all on a GPU, are overhead for the most part
_TURNS = 0.2  # seconds
_CHANNELS, _SIZE, _MOST = 256, 8, 2048


def preferred(speedup: float) -> Precision:
    """bfloat16 where that is clearly faster, by a tenth at least, and float32 otherwise."""
    return "bfloat16" if speedup >= _CLEARLY else "float32"


def in_words(speedup: float) -> str:
    """Why :func:`preferred` chose as it did."""
    if speedup >= _CLEARLY:
        return f"{speedup:.1f} times as fast as float32 here"
    if speedup >= 1 / _CLEARLY:
        return "bfloat16 takes about as long here"
    return f"bfloat16 takes {1 / speedup:.1f} times as long here" if speedup else "bfloat16 does not work here"


def speedup(step: Callable[[int], object], most: int, device: torch.device) -> float:
    """How many times as fast ``step(images)`` is in bfloat16 as in float32.

    The number of images is such that float32 takes about 10 ms, on a GPU 50, but 2 at least and ``most`` at most. Then
    the two take turns for 0.2 s, each once at least, and the shortest time of each counts. First calls, which choose
    and compile kernels, do not. A CPU is timed by what one thread computes, whatever else it is busy with.
    """
    with on_threads(1):
        images = _images(step, most, device)
        _seconds(step, images, "bfloat16", device)
        shortest, end = dict.fromkeys(PRECISIONS, math.inf), time.perf_counter() + _TURNS
        while True:
            for precision in PRECISIONS:
                shortest[precision] = min(shortest[precision], _seconds(step, images, precision, device))
            if time.perf_counter() >= end:
                return shortest["float32"] / shortest["bfloat16"]


def _images(step: Callable[[int], object], most: int, device: torch.device) -> int:
    images, enough = min(2, most), _GPU_STEP if device.type == "cuda" else _STEP
    while True:
        _, taken = (_seconds(step, images, "float32", device) for _ in range(2))
        if taken >= enough / 2 or images == most:
            return images
        images = min(most, math.ceil(images * enough / taken))


def _seconds(step: Callable[[int], object], images: int, precision: Precision, device: torch.device) -> float:
    gpu = device.type == "cuda"
    # On Windows a thread's own time comes in steps of 16 ms.
    clock = time.perf_counter if gpu or sys.platform == "win32" else time.thread_time
    if gpu:
        torch.cuda.synchronize(device)
    began = clock()
    with computing_in(precision, device):
        step(images)
    if gpu:
        torch.cuda.synchronize(device)
    return clock() - began


def device_speedup(device: str) -> float:
    """The :func:`speedup` of a device, of several the first, on convolutions as trained here; 0 where bfloat16 fails.

    Half a second, once: what was measured is kept in the user's cache, ``$XDG_CACHE_HOME`` or ``~/.cache``, by device,
    processor and version of PyTorch. A damaged file there is replaced; where none can be written, nothing is kept.
    """
    where = torch.device(device.partition(",")[0])
    about = _about(where)
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    with suppress(OSError, RuntimeError, ValueError, KeyError, TypeError):
        kept = float(json.loads((_cache() / f"{name}.json").read_text(encoding="utf-8"))["speedup"])
        if 0 < kept < math.inf:
            return kept
    try:
        measured = speedup(_convolutions(where), _MOST, where)
    except Exception:  # whatever a device says that knows no bfloat16, or has no memory left
        return 0.0
    with suppress(OSError, RuntimeError):
        save_text(_cache() / f"{name}.json", json.dumps({**about, "speedup": measured}, indent=1))
    return measured


def _cache() -> Path:
    """The folder of what was measured on this user's machines; a RuntimeError if the user has no home directory."""
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "robustness-harness" / "precision"


def _about(device: torch.device) -> dict[str, str]:
    """What the speed of a device depends on."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _convolutions(device: torch.device) -> Callable[[int], object]:
    """Forward and backward through two 3x3 convolutions with BatchNorm and ReLU, laid out as models are."""

    def layers() -> list[nn.Module]:
        return [nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1, bias=False), nn.BatchNorm2d(_CHANNELS), nn.ReLU()]

    with seeded("precision"):
        network = nn.Sequential(*layers(), *layers()).to(device)
    to_channels_last(network)

    def step(images: int) -> None:
        x = torch.ones(images, _CHANNELS, _SIZE, _SIZE, device=device).to(memory_format=torch.channels_last)
        loss: torch.Tensor = network(x.requires_grad_()).float().square().mean()
        loss.backward()  # type: ignore[no-untyped-call]

    return step
