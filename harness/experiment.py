"""What the user asked for, resolved and validated into a graph of jobs before any work starts."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from harness import registry
from harness.attacks import resolve
from harness.datasets.base import Data, Split, hold_out
from harness.defaults import ATTACKS, CHECKPOINTS, setup_for, threat_for
from harness.errors import HarnessError, UnknownName
from harness.specs import (
    AnySpec,
    AttackSpec,
    DatasetSpec,
    EvaluateSpec,
    MethodSpec,
    Protocol,
    ThreatSpec,
    TrainSpec,
    job_id,
)
from harness.threat import Norm, parse_eps


@dataclass(frozen=True)
class Job:
    """One node of the graph: a spec, its id, and the jobs that must be done before."""

    spec: AnySpec
    id: str
    needs: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """For people: ``trades seed 0`` or ``trades seed 0 best autoattack``."""
        train = self.spec if isinstance(self.spec, TrainSpec) else self.spec.train
        title = f"{train.method.name} seed {train.seed}"
        if isinstance(self.spec, EvaluateSpec):
            title += f" {self.spec.checkpoint} {self.spec.attack.name}"
        return title


@dataclass(frozen=True)
class Request:
    """The user's words; None means the data set's default. ``settings`` are ``--set`` texts ``owner.field=value``."""

    methods: Sequence[str]
    data: Data
    attacks: Sequence[str] = ATTACKS
    checkpoints: Sequence[str] = CHECKPOINTS
    seeds: Sequence[int] = (0,)
    model: str | None = None
    norm: Norm | None = None
    eps: float | None = None
    epochs: int | None = None
    train_examples: int | None = None
    test_examples: int | None = None
    settings: Sequence[str] = field(default_factory=tuple)


def plan(request: Request) -> list[Job]:
    """Every job of the experiment, training before its evaluations, each id once.

    Raises:
        HarnessError: for any unknown name, misspelt setting or impossible value; nothing has been started.
    """
    setup = setup_for(request.data)
    names = select_methods(request.methods)
    settings = _Settings(request.settings)
    threat = threat_for(setup.threat, request.norm, request.eps)
    threat = replace(threat, **settings.parsed("threat", {"step_size": float}))
    short = {} if request.epochs is None else {"epochs": request.epochs}
    protocol = settings.apply_to_protocol(setup.protocol, short)
    model = request.model or setup.model
    trains = [
        TrainSpec(
            method=MethodSpec(
                name=name, params=settings.method_params(name), code=registry.code_of(registry.methods[name])
            ),
            dataset=DatasetSpec(
                name=request.data.name,
                fingerprint=request.data.fingerprint,
                train_examples=_limit("train", request.train_examples, len(request.data.train)),
                validation_fraction=setup.validation_fraction,
            ),
            model=model,
            model_code=registry.code_of(registry.models[model]),
            threat=ThreatSpec(**asdict(threat)),
            protocol=protocol,
            seed=seed,
        )
        for seed in request.seeds
        for name in names
    ]
    attacks = _attacks(request.attacks)
    unknown = [name for name in request.checkpoints if name not in CHECKPOINTS]
    if unknown:
        raise UnknownName("checkpoint", unknown[0], CHECKPOINTS)
    if not request.checkpoints:
        raise HarnessError(f"no checkpoint was named. Known: {', '.join(CHECKPOINTS)}.")
    settings.check_all_used(names)
    _check_hold_out(request.data, trains[0])
    examples = _limit(
        "test", setup.test_examples if request.test_examples is None else request.test_examples, len(request.data.test)
    )
    jobs = [Job(train, job_id(train)) for train in trains]
    for train in list(jobs):
        assert isinstance(train.spec, TrainSpec)
        jobs += _evaluations(train.spec, train.id, attacks, request.checkpoints, examples)
    return list({job.id: job for job in jobs}.values())


def select_methods(names: Iterable[str]) -> list[str]:
    """Method names for names and groups (``all``, ``ablations``), each once, in the order asked for."""
    groups: dict[str, list[str]] = {}
    for name, method in registry.methods.items():
        groups.setdefault(method.group, []).append(name)
    chosen: list[str] = []
    for name in names:
        if name not in groups and name not in registry.methods:
            raise UnknownName("method", name, [*registry.methods, *groups])
        chosen += groups.get(name, [name])
    if not chosen:
        raise HarnessError("no method was named: try --methods all, or harness methods for the list")
    return list(dict.fromkeys(chosen))


def _evaluations(
    train: TrainSpec,
    train_id: str,
    attacks: Sequence[AttackSpec],
    checkpoints: Iterable[str],
    examples: int | None,
) -> list[Job]:
    jobs = []
    for checkpoint in checkpoints:
        for attack in attacks:
            spec = EvaluateSpec.model_validate(
                {
                    "train": train,
                    "train_id": train_id,
                    "checkpoint": checkpoint,
                    "attack": attack,
                    "threat": train.threat,
                    "test_examples": examples,
                    "seed": train.seed,
                }
            )
            jobs.append(Job(spec, job_id(spec), (train_id,)))
    return jobs


def _attacks(names: Sequence[str]) -> list[AttackSpec]:
    resolved = {name: resolve(name) for name in dict.fromkeys(("natural", *names))}
    return [
        AttackSpec(name=name, params=asdict(attack), code=registry.code_of(type(attack)))  # type: ignore[call-overload]
        for name, attack in resolved.items()
    ]


def _check_hold_out(data: Data, train: TrainSpec) -> None:
    """Enough examples to train and to validate: a matter of their number alone, so one pixel of each will do."""
    limited = data.train.head(train.dataset.train_examples)
    hold_out(Split(limited.images[:, :, :1, :1], limited.labels), train.dataset.validation_fraction, train.seed)


def _limit(split: str, wanted: int | None, available: int) -> int | None:
    """The first N examples; None for all of them, so that asking for all and saying nothing are the same job."""
    if wanted is None or wanted == available:
        return None
    if not 1 <= wanted <= available:
        raise HarnessError(f"--{split}-examples must be between 1 and {available}, got {wanted}")
    return wanted


class _Settings:
    """The ``--set owner.field=value`` texts: each must be used by somebody."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.values: dict[str, dict[str, str]] = {}
        for text in texts:
            name, equals, value = text.partition("=")
            owner, dot, key = name.strip().partition(".")
            if not equals or not dot or not owner or not key:
                raise HarnessError(f"--set takes METHOD.FIELD=VALUE or protocol.FIELD=VALUE, got {text!r}")
            self.values.setdefault(owner, {})[key] = value.strip()

    def check_all_used(self, methods: Sequence[str]) -> None:
        """An owner that takes no part in this run is a misspelling."""
        for owner in self.values:
            if owner not in (*methods, "protocol", "threat"):
                raise UnknownName("owner of a --set", owner, [*methods, "protocol", "threat"])

    def parsed(self, owner: str, types: dict[str, Any]) -> dict[str, Any]:
        """The owner's settings as values of their types."""
        values: dict[str, Any] = {}
        for key, text in self.values.get(owner, {}).items():
            if key not in types:
                raise UnknownName(f"setting of {owner}", key, types)
            values[key] = parse_value(f"{owner}.{key}", text, types[key])
        return values

    def method_params(self, name: str) -> dict[str, Any]:
        """All hyperparameters of a method: its defaults with the user's changes, checked by the method itself."""
        method = registry.methods[name]
        hints = get_type_hints(method)  # resolved, also where a plugin postpones annotations
        types = {each.name: hints[each.name] for each in fields(method)}  # type: ignore[arg-type]
        return asdict(method(**self.parsed(name, types)))  # type: ignore[call-overload, no-any-return]

    def apply_to_protocol(self, default: Protocol, short: dict[str, Any]) -> Protocol:
        """The protocol with the user's changes."""
        types = {name: info.annotation for name, info in Protocol.model_fields.items()}
        try:
            changed = default.model_dump() | short | self.parsed("protocol", types)
            return Protocol.model_validate(changed)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise HarnessError(f"protocol.{key} = {first['input']!r}: {first['msg']}") from error


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise HarnessError(f"{name} = {text!r} is no list such as [0.5, 0.75]: {error}") from error


def parse_value(name: str, text: str, kind: Any) -> Any:
    """The text as a value of ``kind``: numbers may be fractions (8/255), tuples are written as JSON lists.

    Raises:
        HarnessError: if it is no such value.
    """
    candidate: Any = text
    if text.startswith("["):
        candidate = _json(name, text)
    elif kind is float or "/" in text:
        candidate = parse_eps(text)
    try:
        return TypeAdapter(kind).validate_python(candidate)
    except ValidationError as error:
        raise HarnessError(f"{name} = {text!r}: {error.errors()[0]['msg']}") from error
