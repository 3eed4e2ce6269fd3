"""Kill runs with SIGKILL at random instants: ``python benchmarks/soak.py --kills 200``.

Scheduler, worker, or both; then the same command again, until it ends well. Results that are there may never change,
and what comes of it in the end must be what an undisturbed run gives, bit for bit. Ends with 1 at the first difference.
"""

import subprocess
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from killing import outcome, soak, start

ATTACKS = ("--attacks", "fgsm,autoattack")


def main(
    kills: Annotated[int, typer.Option(min=1, help="How many in all.")] = 200,
    seed: Annotated[
        int | None, typer.Option(help="Of the instants and of who is killed; default: a random one.")
    ] = None,
) -> None:
    """Print the seed, then a line for each round, which is one workspace."""
    seed = Random().randrange(2**32) if seed is None else seed
    print(f"seed {seed}", flush=True)
    with TemporaryDirectory(prefix="soak-") as name:
        folder, began = Path(name), time.monotonic()
        assert start(folder / "whole", *ATTACKS, stdout=subprocess.DEVNULL).wait() == 0
        whole, expected = time.monotonic() - began, outcome(folder / "whole")
        print(f"undisturbed: {whole:.0f} s", flush=True)
        for number, (struck, found) in enumerate(soak(folder, kills, Random(seed), whole / 2, *ATTACKS), start=1):
            assert found == expected, f"round {number} gave something else"
            print(f"{struck} of {kills} kills, {number} rounds, all equal", flush=True)


if __name__ == "__main__":
    typer.run(main)
