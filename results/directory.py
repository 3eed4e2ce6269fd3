"""A finished job's directory, read and checked: files in, rows for the store out."""

import json
from collections.abc import Iterator
from datetime import UTC
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from results.checksums import check, read_bytes
from results.errors import Damaged, JobUnreadable
from results.features import arrays
from results.files import (
    DIAGNOSE_RESULT,
    EVALUATE_RESULT,
    FAILURE,
    FEATURES_RESULT,
    LINE,
    SPEC,
    TRAIN_RESULT,
    DiagnoseFile,
    EvaluateFile,
    FeaturesFile,
    Line,
    Result,
    TrainFile,
)
from results.layout import JobFiles
from results.schema import StoredDiagnosis, StoredEpoch, StoredEvaluation, StoredFeatures, StoredJob, StoredTraining
from results.verdicts import Verdicts, pack

T = TypeVar("T")


def is_finished(directory: Path) -> bool:
    """Whether the job has an outcome, good or bad: until then its directory belongs to a worker."""
    files = JobFiles(directory)
    return files.result.exists() or files.failure.exists()


def read_job(directory: Path) -> StoredJob:
    """The job in ``directory``, with its history or verdicts, as an object not yet stored.

    ``result.json`` counts before ``failure.json``, which an earlier try may have left. A failed job has no history.

    Raises:
        Damaged: if a file is missing or damaged or two files disagree; the message names the file.
        JobUnreadable: if the job has not finished, or the system does not let a file be read.
    """
    files = JobFiles(directory)
    if files.result.exists():
        check(files, files.spec, files.history, files.verdicts, files.features)
    spec_text = read_bytes(files.spec)
    spec = _parse(SPEC, spec_text, files.spec)
    train = spec if isinstance(spec, TrainFile) else spec.train
    if not is_finished(directory):
        raise JobUnreadable(f"{files.result} is missing: the job has not finished; `harness run` resumes it")
    common: dict[str, Any] = {
        "id": files.id,
        "kind": spec.kind,
        "method": train.method.name,
        "dataset": train.dataset.name,
        "model": train.model,
        "seed": train.seed,
        "threat_norm": spec.threat.norm,
        "threat_eps": spec.threat.eps,
        "spec": json.loads(spec_text),
    }
    if not files.result.exists():
        return _failed(files, common)
    if isinstance(spec, TrainFile):
        return _trained(files, common)
    if isinstance(spec, EvaluateFile):
        return _evaluated(files, common, spec)
    return _diagnosed(files, common, spec) if isinstance(spec, DiagnoseFile) else _described(files, common, spec)


def _failed(files: JobFiles, common: dict[str, Any]) -> StoredJob:
    failure = _parse(FAILURE, read_bytes(files.failure), files.failure)
    return StoredJob(
        **common,
        state="failed",
        error=failure.error,
        traceback=failure.traceback,
        log=failure.log,
        finished=_utc(failure.finished),
        extra=failure.model_extra,
    )


def _trained(files: JobFiles, common: dict[str, Any]) -> StoredJob:
    result = _parse(TRAIN_RESULT, read_bytes(files.result), files.result)
    epochs = list(_history(files.history))
    if [epoch.epoch for epoch in epochs] != list(range(1, result.epochs + 1)):
        found = ", ".join(str(epoch.epoch) for epoch in epochs)
        raise Damaged(
            f"{files.history} must hold the epochs 1 to {result.epochs} once each and in order "
            f"(as result.json says), got {found or 'none'}"
        )
    training = StoredTraining(
        best_epoch=result.best_epoch,
        total_epochs=result.epochs,
        images_per_second=result.images_per_second,
        peak_memory=result.peak_memory,
        parameters=result.parameters,
    )
    return StoredJob(**common, **_done(files, result), training=training, epochs=epochs)


def _evaluated(files: JobFiles, common: dict[str, Any], spec: EvaluateFile) -> StoredJob:
    result = _parse(EVALUATE_RESULT, read_bytes(files.result), files.result)
    verdicts = read_verdicts(files.verdicts)
    if (len(verdicts), verdicts.sum()) != (result.examples, result.correct):
        raise Damaged(
            f"{files.verdicts} has {verdicts.sum()} of {len(verdicts)} examples correct, "
            f"but result.json says {result.correct} of {result.examples}"
        )
    evaluation = StoredEvaluation(
        train_id=spec.train_id,
        checkpoint=spec.checkpoint,
        attack=spec.attack.name,
        attack_params=spec.attack.params,
        correct=result.correct,
        examples=result.examples,
        verdicts=pack(verdicts),
        forwards=result.forwards,
        backwards=result.backwards,
        correct_low=result.correct_low,
        details=result.details,
    )
    return StoredJob(**common, **_done(files, result), evaluation=evaluation)


def _diagnosed(files: JobFiles, common: dict[str, Any], spec: DiagnoseFile) -> StoredJob:
    result = _parse(DIAGNOSE_RESULT, read_bytes(files.result), files.result)
    diagnosis = StoredDiagnosis(
        train_id=spec.train_id,
        checkpoint=spec.checkpoint,
        verdict=result.verdict,
        findings=[finding.model_dump() for finding in result.findings],
        probes=result.probes,
        evaluations=spec.evaluations,
    )
    return StoredJob(**common, **_done(files, result), diagnosis=diagnosis)


def _described(files: JobFiles, common: dict[str, Any], spec: FeaturesFile) -> StoredJob:
    result, content = _parse(FEATURES_RESULT, read_bytes(files.result), files.result), read_bytes(files.features)
    try:
        found = arrays(content)
    except ValueError as error:
        raise Damaged(f"{files.features} is damaged: {error}") from error
    if len(found["labels"]) != result.images:
        raise Damaged(f"{files.features} has {len(found['labels'])} images, but result.json says {result.images}")
    features = StoredFeatures(
        train_id=spec.train_id, checkpoint=spec.checkpoint, embedding=spec.embedding, arrays=content
    )
    return StoredJob(**common, **_done(files, result), features=features)


def _done(files: JobFiles, result: Result) -> dict[str, Any]:
    if result.id != files.id:
        raise Damaged(f"{files.result} is of job {result.id}: its directory must bear that name")
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


def _history(path: Path) -> Iterator[StoredEpoch]:
    for number, text in enumerate(read_bytes(path).splitlines(), start=1):
        line = _parse(LINE, text, path, f" line {number}")
        yield StoredEpoch(**{name: getattr(line, name) for name in Line.model_fields})


def read_verdicts(path: Path) -> Verdicts:
    """The ``verdicts.npy`` of a finished evaluation: one bool for each example.

    Raises:
        Damaged: if the file is missing or holds something else, such as pickled objects, which are not read.
    """
    content = BytesIO(read_bytes(path))
    try:
        verdicts = np.load(content, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError, RecursionError) as error:
        what = "it is no array of numbers" if "pickle" in str(error) else error
        raise Damaged(f"{path} is damaged: {what}") from error
    if not isinstance(verdicts, np.ndarray) or verdicts.dtype != np.bool_ or verdicts.ndim != 1:
        raise Damaged(f"{path} must hold one bool an example, got {getattr(verdicts, 'dtype', type(verdicts))}")
    return verdicts


def _parse(adapter: TypeAdapter[T], text: bytes, path: Path, where: str = "") -> T:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise Damaged(f"{path}{where} is damaged: {key + ': ' if key else ''}{first['msg']}") from error


def _utc(time: AwareDatetime) -> str:
    return time.astimezone(UTC).isoformat()
