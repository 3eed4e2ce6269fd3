"""Writes job directories as workers leave them: real files, with contents drawn from the job's id; reads rows back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.testing import assert_frame_equal
from sqlalchemy import select

from results.queries import history, long_form
from results.schema import StoredJob
from results.store import Store

TIMES = {"started": "2026-01-02T03:04:05+00:00", "finished": "2026-01-02T03:05:05.5+00:00", "seconds": 60.5}
WHERE = {
    "device": "cpu",
    "versions": {"harness": "0.1.0", "torch": "2.11.0", "python": "3.11.9"},
    "code": "0f1e2d3c",
}
LINF = {"norm": "Linf", "eps": 0.2, "step_size": 0.05}


def train_spec(method: str = "trades", *, seed: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "train",
        "method": {"name": method, "params": {"beta": 6.0}},
        "dataset": {"name": "digits", "fingerprint": "ab12", "train_examples": None, "validation_fraction": 0.1},
        "model": "small-cnn",
        "threat": LINF,
        "protocol": {"epochs": 3, "lr": 0.1},
        "seed": seed,
        "numerics": 1,
        **changes,
    }


def write_spec(directory: Path, spec: dict[str, Any]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "spec.json").write_text(json.dumps(spec))
    return directory


def write_result(directory: Path, kind: str, **values: Any) -> Path:
    result = {"id": directory.name, "kind": kind, **TIMES, **WHERE, **values}
    (directory / "result.json").write_text(json.dumps(result))
    (directory / "failure.json").unlink(missing_ok=True)
    return directory


def write_failure(directory: Path, spec: dict[str, Any], *, finished: str = TIMES["finished"]) -> Path:
    failure = {"error": "loss is nan", "traceback": "Traceback ...", "log": "log.txt", "finished": finished}
    (write_spec(directory, spec) / "failure.json").write_text(json.dumps(failure))
    return directory


def write_train(root: Path, name: str, method: str = "trades", *, epochs: int = 3, **spec: Any) -> Path:
    """``root/train-NAME``, trained for ``epochs`` epochs."""
    directory = write_spec(root / f"train-{name}", train_spec(method, **spec))
    lines = [
        {
            "epoch": epoch,
            "lr": 0.1 / epoch,
            "loss": 2.0 / epoch,
            "terms": {"natural": 1.5 / epoch, "robust": 0.5 / epoch},
            "validation_natural": 0.9,
            "validation_robust": 0.1 + 0.1 * epoch,
            "images_per_second": 1234.5,
            "peak_memory": None,
            "seconds": 1.25,
        }
        for epoch in range(1, epochs + 1)
    ]
    (directory / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    values = {"best_epoch": epochs, "epochs": epochs, "images_per_second": 1200.0, "peak_memory": 2**33}
    return write_result(directory, "train", **values, parameters=98765)


def write_evaluate(
    root: Path,
    name: str,
    verdicts: Any,
    *,
    attack: str = "pgd-20",
    train: str = "a",
    checkpoint: str = "best",
    threat: dict[str, Any] = LINF,
    params: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    **values: Any,
) -> Path:
    """``root/evaluate-NAME``: the model of ``train-TRAIN`` under one attack, with these verdicts."""
    bits = np.array(verdicts, dtype=bool)
    full = {
        "kind": "evaluate",
        "train": spec or train_spec(),
        "train_id": f"train-{train}",
        "checkpoint": checkpoint,
        "attack": {"name": attack, "params": params or {}},
        "threat": threat,
        "test_examples": len(bits),
        "seed": 0,
        "numerics": 1,
    }
    directory = write_spec(root / f"evaluate-{name}", full)
    np.save(directory / "verdicts.npy", bits)
    counts = {"correct": int(bits.sum()), "examples": len(bits), "forwards": 20 * len(bits)}
    return write_result(directory, "evaluate", **{**counts, "details": {}, **values})


def write_diagnose(
    root: Path,
    name: str,
    verdict: str,
    *findings: str,
    evaluations: Any = (),
    train: str = "a",
    checkpoint: str = "best",
    threat: dict[str, Any] = LINF,
    **values: Any,
) -> Path:
    """``root/diagnose-NAME``: the verdict on ``train-TRAIN``, with a finding for each message."""
    full = {
        "kind": "diagnose",
        "train": train_spec(),
        "train_id": f"train-{train}",
        "checkpoint": checkpoint,
        "threat": threat,
        "evaluations": [f"evaluate-{each}" for each in evaluations],
        "limits": {},
        "seed": 0,
    }
    found = [
        {"code": f"code-{number}", "severity": verdict, "message": text, "evidence": "seen", "advice": "look"}
        for number, text in enumerate(findings)
    ]
    directory = write_spec(root / f"diagnose-{name}", full)
    return write_result(directory, "diagnose", **{"verdict": verdict, "findings": found, "probes": {"n": 2}, **values})


def write_workspace(root: Path, seed: int = 0, trainings: int = 3, examples: int = 101) -> Path:
    """A jobs root with ``trainings`` trainings, each under three attacks; verdicts are drawn from ``seed``."""
    draw = np.random.default_rng(seed)
    for number in range(trainings):
        name, spec = f"{seed}-{number}", train_spec(["trades", "mart", "natural"][number % 3], seed=seed)
        write_train(root, name, spec["method"]["name"], seed=seed)
        for attack, rate in (("natural", 0.9), ("fgsm", 0.6), ("pgd-20", 0.4)):
            verdicts = draw.random(examples) < rate
            write_evaluate(root, f"{name}-{attack}", verdicts, attack=attack, train=name, spec=spec)
    return root


def by_attack(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The rows of the long form of one model, by their attacks."""
    return {row["attack"]: row for row in frame.to_dict("records")}


def jobs(store: Store) -> pd.DataFrame:
    """Every stored job, in the order in which they finished."""
    with store.reading() as session:
        found = session.scalars(select(StoredJob).order_by(StoredJob.finished, StoredJob.id)).all()
        columns = ("id", "kind", "state", "method", "started", "finished", "device", "code", "error", "log")
        return pd.DataFrame([{name: getattr(job, name) for name in columns} for job in found], columns=list(columns))


def assert_same(first: Store, second: Store) -> None:
    """Every frame that the two stores answer with is equal."""
    for query in (long_form, history, jobs):
        assert_frame_equal(query(first), query(second))
        assert len(query(first)) > 0
