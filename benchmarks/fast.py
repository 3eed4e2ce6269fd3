"""AutoAttack's verdict for less: ``python benchmarks/fast.py`` puts ``autoattack-fast`` beside the whole.

Digits of the zoo, Linf 0.2. Passes are images through the model, forwards and backwards together, for each example of
the test set; ``missed`` counts the examples that stand under ``autoattack-fast`` and fall under AutoAttack, ``gained``
the others, ``bound`` says whether no more stand than the interval allows. The simulation of 10,000 examples takes each
search's cost and what is missed in proportion: only the sample grows less. Beside the ratio is the chance that one of
that sample falls, and all is spent.
"""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import torch
import typer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from zoo import BROKEN, HONEST, Bases
from zoo.bases import THREAT

from harness.api.attack import Survey
from harness.attacks import resolve
from harness.attacks.autoattack_fast import AutoAttackFast
from harness.evaluation.judge import Examples, judge
from harness.evaluation.judgement import Judgement

_HONEST = "pgd-at,trades,mart,averaged,linear,timid"
_BROKEN = "quantised-at,rounded-at,sine-at,boosted-at,hard-label-at,shattered-at,reverse-attention,half-detached-at"
_SIMULATED = 10_000


@dataclass(frozen=True)
class Outcome:
    """What one attack left of one model: verdicts, their bound, and what it cost."""

    stands: list[bool]
    may_fall: int
    forwards: int
    backwards: int
    seconds: float

    @classmethod
    def of(cls, found: Judgement) -> "Outcome":
        """The judgement as plain values."""
        return cls(found.verdicts.tolist(), found.may_fall, found.forwards, found.backwards, found.seconds)

    @property
    def passes(self) -> int:
        """Forwards and backwards together."""
        return self.forwards + self.backwards


def attacked(member: str, attack: str, examples: int, directory: Path) -> Outcome:
    """One attack on one member of the zoo, of seed 0; what is known already is read from ``directory``."""
    known = directory / f"{member}-{attack}-{examples}.json"
    if not known.exists():
        bases = Bases(directory)
        model, images = (BROKEN | HONEST)[member].make(bases, 0), bases.test_images(examples)
        found = judge(
            model, Examples(*images), resolve(attack), THREAT, views={}, seed=(0, attack), batch_size=examples
        )
        known.write_text(json.dumps(asdict(Outcome.of(found))))
    return Outcome(**json.loads(known.read_text()))


def row(member: str, examples: int, fast: Outcome, whole: Outcome, reference: Outcome | None) -> str:
    """A member as a line of the table."""
    missed = sum(ours and not theirs for ours, theirs in zip(fast.stands, whole.stands, strict=True))
    gained = sum(theirs and not ours for ours, theirs in zip(fast.stands, whole.stands, strict=True))
    cells = [
        member,
        *(f"{each.forwards / examples:.0f} + {each.backwards / examples:.0f}" for each in (whole, fast)),
        f"{fast.passes / whole.passes:.3f}",
        f"{fast.seconds / whole.seconds:.2f}",
        *(f"{100 * sum(each.stands) / examples:.2f}" if each else "-" for each in (reference, whole)),
        _interval(fast, examples),
        f"{missed}, {gained}",
        "yes" if sum(fast.stands) - fast.may_fall <= sum(whole.stands) else "**no**",
        _simulated(fast, whole, missed, examples),
    ]
    return f"| {' | '.join(cells)} |"


def _interval(fast: Outcome, examples: int) -> str:
    stands = sum(fast.stands)
    accuracy = f"{100 * stands / examples:.2f}"
    return f"{accuracy} [{100 * (stands - fast.may_fall) / examples:.2f}, {accuracy}]" if fast.may_fall else accuracy


def _simulated(fast: Outcome, whole: Outcome, missed: int, examples: int) -> str:
    """The share of the passes on 10,000 examples, and the chance that it ends in the whole attack, as it may here."""
    if not fast.may_fall:
        return "ends in the whole"
    scale = _SIMULATED / examples
    here, there = (_sampled(round(factor * sum(fast.stands))) for factor in (1, scale))
    ratio = (fast.passes / whole.passes) - (here / sum(fast.stands)) + there / (scale * sum(fast.stands))
    chance = 1 - (1 - missed / sum(fast.stands)) ** there
    return f"{ratio:.3f}, {chance:.2f}"


def _sampled(survivors: int) -> int:
    """How many of so many survivors of the cascade are the random sample."""
    after = Survey(torch.ones(survivors, dtype=torch.bool), torch.zeros(survivors), torch.zeros(survivors))
    audit = next(each for each in AutoAttackFast().rounds if each.name == "audit")
    return len(audit.choose(after, torch.Generator()))


def lines(members: list[str], examples: int, references: list[str], workers: int, directory: Path) -> Iterator[str]:
    """The rows, each as soon as its attacks are through."""
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        futures = {
            member: [
                pool.submit(attacked, member, attack, examples, directory)
                for attack in ("autoattack-fast", "autoattack", "autoattack-reference")
                if attack != "autoattack-reference" or member in references
            ]
            for member in members
        }
        for member, own in futures.items():
            fast, whole, *reference = (future.result() for future in own)
            yield row(member, examples, fast, whole, reference[0] if reference else None)


def main(
    members: Annotated[str, typer.Option(help="Which models of the zoo.")] = f"{_HONEST},{_BROKEN}",
    references: Annotated[str, typer.Option(help="Which of them by the authors' code too.")] = "pgd-at",
    examples: Annotated[int, typer.Option(min=1, help="Images to attack.")] = 497,
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 2,
    directory: Annotated[Path, typer.Option("--cache", help="Where models and outcomes are kept.")] = Path("runs/fast"),
) -> None:
    """Attack each model by both and print one table; what was done before is not done again."""
    print("| model | passes, whole | passes, fast | ratio | time | reference | autoattack | autoattack-fast |", end="")
    print(" missed, gained | bound | 10,000: ratio, chance |")
    print("| --- |" + " ---: |" * 10, flush=True)
    for line in lines(members.split(","), examples, references.split(","), workers, directory):
        print(line, flush=True)


if __name__ == "__main__":
    typer.run(main)
