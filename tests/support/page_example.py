"""A workspace whose leaderboard has a row of every kind, and entries by the thousand."""

import json

from results_jobs import train_spec, write_diagnose, write_evaluate, write_train

from reports.choice import Choice
from reports.page.board import board
from reports.page.entries import Entry, Finding, Score
from reports.published import read_published
from results.layout import WorkspaceFiles
from results.store import Store

HOSTILE = "<script>alert(1)</script>\"'&amp;</script><!--"
PAPER = {"title": "A <b>paper</b>", "url": "https://example.org/a", "bibtex": "@misc{a,\n  title = {A & B}\n}"}
COMMAND = "harness run --methods all --dataset digits"
ACCURACIES = {"trades": (90, 55, 50), "mart": (80, 60, 40), HOSTILE: (70, 30, 20), "pgd-at": (95, 65, 60)}


def measured_workspace(root):
    """TRADES with two seeds; MART masked; PGD-AT without AutoAttack and diagnosis; one whose name is hostile."""
    jobs = root / "jobs"
    for method, (natural, autoattack, adaptive) in ACCURACIES.items():
        name = "hostile" if method == HOSTILE else method
        for seed in (0, 1) if method == "trades" else (0,):
            training, spec = f"{name}-{seed}", train_spec(method, seed=seed)
            directory = write_train(jobs, training, method, seed=seed)
            (directory / "command.txt").write_text(f"cd /home/someone\n{COMMAND}\n")
            scores = {"natural": natural + seed, "adaptive": adaptive + 2 * seed}
            scores |= {"autoattack": autoattack} if method != "pgd-at" else {}
            for attack, right in scores.items():
                verdicts = [place < right for place in range(100)]
                write_evaluate(jobs, f"{training}-{attack}", verdicts, attack=attack, train=training, spec=spec)
            if method != "pgd-at":
                verdict = "masked" if method == "mart" else "trusted"
                findings = [f"no gradient {HOSTILE}"] if method == "mart" else []
                ids = [f"{training}-{attack}" for attack in scores]
                write_diagnose(jobs, training, verdict, *findings, evaluations=ids, train=training)
    file = jobs / "train-trades-0" / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"paper": PAPER}))
    Store.open(root / "harness.db").ingest_all(jobs)
    return WorkspaceFiles(root)


def board_of(files):
    return board(Store.open(files.database), files, Choice(claims=read_published()))


def many(number):
    """Measured rows of all kinds, with settings, findings and a command of their own, as many hyperparameters give."""
    for place in range(number):
        beta, worst = place / 100, (place * 7919) % 9000 / 10000
        name = f"trades (beta={beta})"
        attacks = ("natural", "fgsm", "pgd-20", "cw", "autoattack", "adaptive", "worst-case")
        scores = [
            Score(each, worst + 0.05 - at / 200, worst - 0.01, worst + 0.06, None, None, 10000)
            for at, each in enumerate(attacks)
        ]
        settings = [f"beta = {beta}", *(f"protocol.setting_{each} = {each * 0.1}" for each in range(20))]
        found = Finding(
            "", "adaptive-below-autoattack", "masked", "AutoAttack overestimates", f"{worst:.4f}, {beta}", "x" * 60
        )
        yield Entry(
            measured=True,
            method=name,
            dataset=f"data-{place % 5}",
            model=f"model-{place % 7}",
            threat="Linf 8/255",
            scores=scores,
            checkpoint=("best", "last")[place % 2],
            seeds=(0,),
            verdict=("trusted", "suspect", "masked")[place % 3],
            why=found.message,
            gap=0.01,
            findings=[found] * (place % 3),
            settings=settings,
            command=f"harness run --methods trades --set trades.beta={beta} "
            + " ".join(f"--set protocol.x{i}={i}" for i in range(15)),
            paper=PAPER,
            trainings=(f"train-{place * 2654435761 % 2**64:016x}",),
        )
