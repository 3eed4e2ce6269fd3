"""A finished job's directory, read and checked: files in, rows for the store out."""

import json
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from results.errors import HarnessError
from results.files import (
    DIAGNOSE_RESULT,
    EVALUATE_RESULT,
    FAILURE,
    LINE,
    SPEC,
    TRAIN_RESULT,
    DiagnoseSpec,
    EvaluateSpec,
    Line,
    Result,
    TrainSpec,
)
from results.schema import Diagnosis, Epoch, Evaluation, Job, Training
from results.verdicts import Verdicts, pack

T = TypeVar("T")


def is_finished(directory: Path) -> bool:
    """Whether the job has an outcome, good or bad: until then its directory belongs to a worker."""
    return (directory / "result.json").exists() or (directory / "failure.json").exists()


def read_job(directory: Path) -> Job:
    """The job in ``directory``, with its history or verdicts, as an object not yet stored.

    ``result.json`` counts before ``failure.json``, which an earlier try may have left. A failed job has no history.

    Raises:
        HarnessError: if a file is missing or damaged or two files disagree; the message names the file.
    """
    spec_text = _bytes(directory / "spec.json")
    spec = _parse(SPEC, spec_text, directory / "spec.json")
    train = spec if isinstance(spec, TrainSpec) else spec.train
    if not is_finished(directory):
        raise HarnessError(
            f"{directory / 'result.json'} is missing: the job has not finished; `harness run` resumes it"
        )
    common: dict[str, Any] = {
        "id": directory.name,
        "kind": spec.kind,
        "method": train.method.name,
        "dataset": train.dataset.name,
        "model": train.model,
        "seed": train.seed,
        "threat_norm": spec.threat.norm,
        "threat_eps": spec.threat.eps,
        "spec": json.loads(spec_text),
    }
    if not (directory / "result.json").exists():
        return _failed(directory, common)
    if isinstance(spec, TrainSpec):
        return _trained(directory, common)
    return (
        _evaluated(directory, common, spec) if isinstance(spec, EvaluateSpec) else _diagnosed(directory, common, spec)
    )


def _failed(directory: Path, common: dict[str, Any]) -> Job:
    path = directory / "failure.json"
    failure = _parse(FAILURE, _bytes(path), path)
    return Job(
        **common,
        state="failed",
        error=failure.error,
        traceback=failure.traceback,
        log=failure.log,
        finished=_utc(failure.finished),
        extra=failure.model_extra,
    )


def _trained(directory: Path, common: dict[str, Any]) -> Job:
    path = directory / "result.json"
    result = _parse(TRAIN_RESULT, _bytes(path), path)
    epochs = list(_history(directory / "history.jsonl"))
    if [epoch.epoch for epoch in epochs] != list(range(1, result.epochs + 1)):
        found = ", ".join(str(epoch.epoch) for epoch in epochs)
        raise HarnessError(
            f"{directory / 'history.jsonl'} must hold the epochs 1 to {result.epochs} once each and in order "
            f"(as result.json says), got {found or 'none'}"
        )
    training = Training(
        best_epoch=result.best_epoch,
        total_epochs=result.epochs,
        images_per_second=result.images_per_second,
        peak_memory=result.peak_memory,
        parameters=result.parameters,
    )
    return Job(**common, **_done(directory, result), training=training, epochs=epochs)


def _evaluated(directory: Path, common: dict[str, Any], spec: EvaluateSpec) -> Job:
    path = directory / "result.json"
    result = _parse(EVALUATE_RESULT, _bytes(path), path)
    verdicts = _verdicts(directory / "verdicts.npy")
    if (len(verdicts), verdicts.sum()) != (result.examples, result.correct):
        raise HarnessError(
            f"{directory / 'verdicts.npy'} has {verdicts.sum()} of {len(verdicts)} examples correct, "
            f"but result.json says {result.correct} of {result.examples}"
        )
    evaluation = Evaluation(
        train_id=spec.train_id,
        checkpoint=spec.checkpoint,
        attack=spec.attack.name,
        attack_params=spec.attack.params,
        correct=result.correct,
        examples=result.examples,
        verdicts=pack(verdicts),
        forwards=result.forwards,
        warnings=result.warnings,
        stages=result.stages,
        details=result.details,
    )
    return Job(**common, **_done(directory, result), evaluation=evaluation)


def _diagnosed(directory: Path, common: dict[str, Any], spec: DiagnoseSpec) -> Job:
    path = directory / "result.json"
    result = _parse(DIAGNOSE_RESULT, _bytes(path), path)
    diagnosis = Diagnosis(
        train_id=spec.train_id,
        checkpoint=spec.checkpoint,
        verdict=result.verdict,
        findings=[finding.model_dump() for finding in result.findings],
        probes=result.probes,
        evaluations=spec.evaluations,
    )
    return Job(**common, **_done(directory, result), diagnosis=diagnosis)


def _done(directory: Path, result: Result) -> dict[str, Any]:
    if result.id != directory.name:
        raise HarnessError(f"{directory / 'result.json'} is of job {result.id}: its directory must bear that name")
    return {
        "state": "done",
        "started": _utc(result.started),
        "finished": _utc(result.finished),
        "seconds": result.seconds,
        "device": result.device,
        "versions": result.versions,
        "code": result.code,
        "extra": result.model_extra,
    }


def _history(path: Path) -> Iterator[Epoch]:
    for number, text in enumerate(_bytes(path).splitlines(), start=1):
        line = _parse(LINE, text, path, f" line {number}")
        yield Epoch(**{name: getattr(line, name) for name in Line.model_fields})


def _verdicts(path: Path) -> Verdicts:
    try:
        verdicts = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError, EOFError) as error:
        raise HarnessError(f"{path} is damaged: {error}") from error
    if not isinstance(verdicts, np.ndarray) or verdicts.dtype != np.bool_ or verdicts.ndim != 1:
        raise HarnessError(f"{path} must hold one bool an example, got {getattr(verdicts, 'dtype', type(verdicts))}")
    return verdicts


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _missing(path) from None


def _missing(path: Path) -> HarnessError:
    return HarnessError(f"{path} is missing: the job directory was copied only in part, or is not one")


def _parse(adapter: TypeAdapter[T], text: bytes, path: Path, where: str = "") -> T:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise HarnessError(f"{path}{where} is damaged: {key + ': ' if key else ''}{first['msg']}") from error


def _utc(time: AwareDatetime) -> str:
    return time.astimezone(UTC).isoformat()
