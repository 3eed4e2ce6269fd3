"""The harness and its peers on the same work, side by side: ``python benchmarks/speed.py --work trades``.

Each contender has a process of its own and they take turns. The table shows the median of the ratios peer / ours, turn
by turn, and their range. Without ``--work`` everything is measured. With ``--threads 1`` on the CPU the seconds are the
processor's, so that a busy machine does no harm.
"""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import torch
import typer
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import peers
from robust import THREAT as ROBUST_THREAT
from robust import robust_resnet
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import PILToTensor
from torchvision.transforms.functional import to_pil_image
from zoo import Bases
from zoo.bases import THREAT as DIGITS_THREAT

import harness
from harness.api.method import Step, methods
from harness.api.model import Inputs
from harness.attacks import resolve
from harness.compute.memory import keep_freed_memory
from harness.compute.modes import computing_in, to_channels_last
from harness.compute.recording import SWITCH
from harness.datasets.folder import load_folder
from harness.evaluation.judge import Examples, judge
from harness.plugins import load_plugins

LINF = harness.Threat("Linf", 8 / 255, 0.007)


class Settings(NamedTuple):
    """What all contenders are told."""

    device: str
    examples: int
    batch: int
    precision: str
    threads: int

    @property
    def clock(self) -> Callable[[], float]:
        """Of one thread on the CPU its own time, which nothing else on the machine prolongs; else the time of day."""
        return time.process_time if (self.device, self.threads) == ("cpu", 1) else time.perf_counter


class Turn(NamedTuple):
    """What one contender did in one turn: its seconds, and which examples still stood."""

    seconds: float
    standing: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Work:
    """A row of the table."""

    title: str
    ours: Callable[[Settings], Turn]
    peers: dict[str, Callable[[Settings], Turn]]


def timed(settings: Settings, call: Callable[[], object]) -> float:
    """Seconds, with the device's work done."""
    started = settings.clock()
    call()
    if settings.device.startswith("cuda"):
        torch.cuda.synchronize()
    return settings.clock() - started


@cache
def student(name: str, settings: Settings, ours: bool) -> tuple[nn.Module, torch.optim.Optimizer, Tensor, Tensor]:
    """A ResNet-18 for 100 classes in training, its optimiser, and one batch."""
    load_plugins()
    torch.manual_seed(0)
    device, batch = settings.device, settings.batch
    inputs = Inputs(3, 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    model = methods[name]().build_model("resnet18", 100, inputs).to(device).train()
    if ours:
        to_channels_last(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-4)
    return model, optimizer, torch.rand(batch, 3, 32, 32, device=device), torch.randint(100, (batch,), device=device)


def our_step(name: str, settings: Settings) -> Turn:
    """What the training loop does with one batch."""
    model, optimizer, x, y = student(name, settings, ours=True)
    step = Step(11, torch.Generator(settings.device).manual_seed(0))

    def call() -> None:
        with computing_in(settings.precision, x.device):
            loss = methods[name]().loss(model, x, y, LINF, step)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()

    return Turn(timed(settings, call))


def their_step(name: str, settings: Settings) -> Turn:
    """The published loop."""
    model, optimizer, x, y = student(name, settings, ours=False)
    loop = getattr(peers, name.replace("-", "_"))
    return Turn(timed(settings, lambda: loop(model, optimizer, x, y, LINF)))


@cache
def robust(kind: str, settings: Settings) -> tuple[nn.Module, Tensor, Tensor, harness.Threat]:
    """A robust model under attack, with all kinds of images: those that it gets wrong too."""
    if kind == "small-cnn":
        bases, threat = Bases(Path("runs/speed")), DIGITS_THREAT
        model = bases.trained("pgd-at", 0)
        x, y = bases.test_images(settings.examples)
    else:
        (model, x, y), threat = robust_resnet(kind, Path("runs/speed")), ROBUST_THREAT
    device = settings.device
    return model.to(device).eval(), x[: settings.examples].to(device), y[: settings.examples].to(device), threat


def our_attack(kind: str, attack: str, settings: Settings) -> Turn:
    """As an evaluation job does it, with the verification."""
    model, x, y, threat = robust(kind, settings)
    precision = "float32" if kind == "small-cnn" else settings.precision
    found = []

    def call() -> None:
        judged = judge(
            model, Examples(x, y), resolve(attack), threat, views={}, seed=(0,), batch_size=500, precision=precision
        )
        found.append(judged)

    seconds = timed(settings, call)
    return Turn(seconds, tuple(found[0].verdicts.tolist()))


def their_attack(kind: str, library: str, settings: Settings) -> Turn:
    """By the peer's defaults, and the predictions that say what stands."""
    model, x, y, threat = robust(kind, settings)
    attack = {"pyautoattack": _pyautoattack, "foolbox": _foolbox, "torchattacks": _torchattacks}[library]
    standing: list[Tensor] = []

    def call() -> None:
        x_adv = attack(model, x, y, threat)
        with torch.no_grad():
            labels = torch.cat([model(part).argmax(1) for part in x_adv.split(250)])
        standing.append(labels == y)

    seconds = timed(settings, call)
    return Turn(seconds, tuple(standing[0].tolist()))


def _pyautoattack(model: nn.Module, x: Tensor, y: Tensor, threat: harness.Threat) -> Tensor:
    import pyautoattack

    adversary = pyautoattack.AutoAttack(model, norm="Linf", eps=threat.eps, seed=0, device=x.device)
    x_adv: Tensor = adversary.run_standard_evaluation(x, y)[0]
    return x_adv


def _foolbox(model: nn.Module, x: Tensor, y: Tensor, threat: harness.Threat) -> Tensor:
    import foolbox

    attack = foolbox.attacks.LinfPGD(abs_stepsize=threat.eps / 4, steps=20, rel_stepsize=None)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
    x_adv: list[Tensor] = [
        attack.run(wrapped, images, foolbox.criteria.Misclassification(labels), epsilon=threat.eps)
        for images, labels in zip(x.split(250), y.split(250), strict=True)
    ]
    return torch.cat(x_adv)


def _torchattacks(model: nn.Module, x: Tensor, y: Tensor, threat: harness.Threat) -> Tensor:
    import torchattacks

    attack = torchattacks.PGD(model, eps=threat.eps, alpha=threat.eps / 4, steps=20)
    return torch.cat([attack(images, labels) for images, labels in zip(x.split(250), y.split(250), strict=True)])


def our_start(settings: Settings) -> Turn:
    """The data of a job, on the device, when an earlier job has decoded it."""
    folder = _image_folder()
    load_folder(folder, folder.parent)

    def call() -> None:
        data = load_folder(folder, folder.parent)
        torch.from_numpy(data.train.images.copy()).to(settings.device)

    return Turn(timed(settings, call))


def their_start(settings: Settings) -> Turn:
    """Every image once through a DataLoader with a process for each core, as the first epoch of a script begins."""
    images = ImageFolder(str(_image_folder() / "train"), PILToTensor())
    loader = DataLoader(images, batch_size=500, num_workers=2)
    return Turn(timed(settings, lambda: torch.cat([batch for batch, _ in loader]).to(settings.device)))


def _image_folder() -> Path:
    """JPEGs of 64x64 as in Tiny-ImageNet, a tenth as many: 11,000."""
    folder = Path("runs/speed/images")
    for split, count in (("train", 100), ("test", 10)):
        for label in range(100):
            place = folder / split / f"{label:03}"
            place.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                path = place / f"{label:03}_{index:03}.jpg"
                if not path.exists():
                    coarse = torch.randint(256, (3, 8, 8), dtype=torch.uint8)
                    to_pil_image(coarse).resize((64, 64)).save(path, quality=90)
    return folder


def _training(name: str, title: str) -> Work:
    return Work(f"{title} step, ResNet-18", partial(our_step, name), {"eager": partial(their_step, name)})


def _attacking(title: str, kind: str, attack: str, *libraries: str) -> Work:
    rivals = {library: partial(their_attack, kind, library) for library in libraries if find_spec(library)}
    return Work(title, partial(our_attack, kind, attack), rivals)


def recording(contender: Callable[[Settings], Turn], settings: Settings) -> Turn:
    """The same with passes recorded as CUDA graphs, where there is a GPU, in a process of its own."""
    os.environ[SWITCH] = "1"
    return contender(settings)


def _recorded(work: Work) -> Work:
    return Work(f"{work.title}, recorded", partial(recording, work.ours), {"ours, not recorded": work.ours})


WORKS = {
    "pgd-at": _training("pgd-at", "PGD-AT"),
    "trades": _training("trades", "TRADES"),
    "trades-ancra": _training("trades-ancra", "TRADES-ANCRA"),
    "pgd-20": _attacking("PGD-20, ResNet-18", "resnet18", "pgd-20", "foolbox", "torchattacks"),
    "autoattack": _attacking("AutoAttack, ResNet-18", "resnet18", "autoattack", "pyautoattack"),
    "autoattack-narrow": _attacking("AutoAttack, narrow ResNet-18", "narrow-resnet18", "autoattack", "pyautoattack"),
    "start": Work("start of a job, 11,000 JPEGs", our_start, {"ImageFolder, DataLoader": their_start}),
    "autoattack-digits": _attacking("AutoAttack, digits, small CNN", "small-cnn", "autoattack", "pyautoattack"),
}
RECORDED = ("pgd-at", "trades", "trades-ancra", "pgd-20", "autoattack-digits")
WORKS |= {f"recorded-{name}": _recorded(WORKS[name]) for name in RECORDED}


def compare(work: Work, settings: Settings, turns: int) -> list[str]:
    """A row of the table for each peer; the first turn of a training step, which warms up, is left out."""
    contenders = {"ours": work.ours, **work.peers}
    pools = {
        name: ProcessPoolExecutor(1, get_context("spawn"), _begin, (settings.threads, name == "ours"))
        for name in contenders
    }
    warm_up = 1 if "step" in work.title else 0
    history: dict[str, list[Turn]] = {name: [] for name in contenders}
    for _ in range(turns + warm_up):
        for name, contender in contenders.items():
            history[name].append(pools[name].submit(contender, settings).result())
    for pool in pools.values():
        pool.shutdown()
    rows = []
    ours = history.pop("ours")[warm_up:]
    for name, theirs in history.items():
        ratios = sorted(b.seconds / a.seconds for a, b in zip(ours, theirs[warm_up:], strict=True))
        mine, other = ours[-1].standing, theirs[-1].standing
        missed = sum(a and not b for a, b in zip(mine, other, strict=True))
        stand = f"{sum(mine)} / {sum(other)} of {len(mine)}, {missed} missed" if mine else "-"
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}" if len(ratios) > 1 else "one turn"
        rows.append(f"| {work.title} | {name} | {median(ratios):.2f} | {spread} | {stand} |")
    return rows


def _begin(threads: int, ours: bool) -> None:
    torch.set_num_threads(threads)
    if ours:
        keep_freed_memory()


def main(
    works: Annotated[list[str] | None, typer.Option("--work", help=f"One of {', '.join(WORKS)}; repeatable.")] = None,
    turns: Annotated[int, typer.Option(min=1, help="How often the contenders take turns.")] = 3,
    examples: Annotated[int, typer.Option(min=1, help="Images to attack.")] = 500,
    precision: Annotated[str, typer.Option(help="Of our training and search: bfloat16 or float32.")] = "bfloat16",
    batch: Annotated[int, typer.Option(min=2, help="Images of a training step.")] = 128,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each contender.")] = 2,
    device: Annotated[str, typer.Option(help="Where to work.")] = "cuda" if torch.cuda.is_available() else "cpu",
) -> None:
    """Measure and print one table."""
    settings = Settings(device, examples, batch, precision, threads)
    print("| work | peer | peer / ours | range | stand: ours / peer |\n| --- | --- | ---: | --- | --- |", flush=True)
    for name in works or (name for name in WORKS if not name.startswith("recorded") or device != "cpu"):
        print("\n".join(compare(WORKS[name], settings, turns)), flush=True)


if __name__ == "__main__":
    typer.run(main)
