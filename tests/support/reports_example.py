"""Results and histories as the store would give them, drawn from a seeded generator."""

import numpy as np
import pandas as pd

from results.statistics import wilson

METHODS = ("mart-ancra", "trades", "natural", "pgd-at", "pgd-at-ancra", "mart", "trades-ancra")
ATTACKS = ("adaptive", "autoattack", "natural", "pgd-100", "fgsm", "pgd-20", "cw")
MASKED = "AutoAttack overestimates by 9.50 points (autoattack 79.00, adaptive 69.50)"
SUSPECT = "50 % of pgd_20 & more | [see AutoAttack]"


# Names that forms must not take for their own language.
HOSTILE = (
    "=cmd|'/C calc'!A0",
    "<script>alert(1)</script>",
    "\\input{/etc/passwd}",
    "two\n\nlines",
    "x_$%&#{}~^ «þ» ε猫",
)


def results(methods=METHODS, attacks=ATTACKS, seeds=(0,), dataset="digits", examples=200, draw=0):
    """The long form, with verdicts: ANCRA is masked (10 points gained under all but adaptive), MART suspect."""
    random, rows = np.random.default_rng(draw), []
    for method in methods:
        for seed in seeds:
            for checkpoint in ("best", "last"):
                correct = _correct(random, method, attacks, examples)
                rows += [_row(method, seed, checkpoint, dataset, attack, k, examples) for attack, k in correct.items()]
    return pd.DataFrame(rows)


def _correct(random, method, attacks, examples):
    """Correct answers by attack; the worst case lies a little below the lowest of them."""
    robust = 0.02 if method == "natural" else random.uniform(0.55, 0.75)
    gain = {attack: 0.1 if "ancra" in method and attack not in ("natural", "adaptive") else 0.0 for attack in attacks}
    correct = {attack: int(random.binomial(examples, robust + gain[attack])) for attack in attacks}
    correct["worst-case"] = max(0, min(correct.values()) - int(random.integers(0, 3)))
    return correct | {"natural": int(random.binomial(examples, 0.97))}


def _row(method, seed, checkpoint, dataset, attack, correct, examples):
    low, high = wilson(correct, examples)
    shuffled = np.random.default_rng([seed, correct, *f"{method} {attack}".encode()])
    verdict = "masked" if "ancra" in method else "suspect" if method == "mart" else "trusted"
    return {
        "method": method,
        "dataset": dataset,
        "model": "small-cnn",
        "seed": seed,
        "checkpoint": checkpoint,
        "attack": attack,
        "accuracy": correct / examples,
        "ci_low": low,
        "ci_high": high,
        "examples": examples,
        "threat": "Linf 0.2",
        "seconds": 90.0,
        "forwards": 20 * examples,
        "backwards": 10 * examples,
        "protocol": "a1b2c3",
        "params": "{}",
        "train_id": f"train-{method}-{dataset}-{seed}",
        "verdict": verdict,
        "why": {"masked": MASKED, "suspect": SUSPECT, "trusted": ""}[verdict],
        "verdicts": shuffled.permutation(np.arange(examples) < correct),
    }


def epochs(methods=METHODS, seeds=(0,), number=12, dataset="digits"):
    """One row an epoch, as the store's history."""
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "method": method,
            "dataset": dataset,
            "model": "small-cnn",
            "seed": seed,
            "train_id": f"train-{method}-{dataset}-{seed}",
            "threat": "Linf 0.2",
            "protocol": "a1b2c3",
            "params": "{}",
            "best_epoch": number // 2,
            "epoch": epoch,
            "lr": 0.05,
            "loss": 2 / epoch,
            "validation_natural": 0.97 - 0.5 / epoch + random.uniform(-0.02, 0.02),
            "validation_robust": 0.7 - 0.5 / epoch + random.uniform(-0.1, 0.1),
            "images_per_second": 1000.0 * (1 + seed),
            "peak_memory": 2**30 * epoch,
            "seconds": 36.0,
            "device": "a GPU",
            "started": "2026-01-02T03:04:05+00:00",
            "term:robust": 1 / epoch,
        }
        for method in methods
        for seed in seeds
        for epoch in range(1, number + 1)
    )


def hits(correct, attack="cw", examples=200, **options):
    """Results with these answers right under one attack, by method: a number (the first so many) for each seed."""
    frames = []
    for method, numbers in correct.items():
        frame = results([method], seeds=range(len(numbers)), examples=examples, **options)
        for seed, number in enumerate(numbers):
            where = (frame["attack"] == attack) & (frame["seed"] == seed)
            frame.loc[where, "accuracy"] = number / examples
            frame.loc[where, "verdicts"] = frame.loc[where, "verdicts"].map(lambda _, n=number: np.arange(examples) < n)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def score(frame, method, attack, column="accuracy", checkpoint="best"):
    """The one value of a method under an attack."""
    found = frame[(frame["method"] == method) & (frame["attack"] == attack) & (frame["checkpoint"] == checkpoint)]
    return found[column].item()
