"""What the user asked for, resolved and validated into a graph of jobs before any work starts."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

from harness.api.attack import attacks
from harness.api.data import Data, Split
from harness.api.errors import HarnessError, UnknownName
from harness.api.method import methods
from harness.api.model import models
from harness.api.specs import (
    AnySpec,
    AttackSpec,
    DatasetSpec,
    DiagnoseSpec,
    Embedding,
    EvaluateSpec,
    FeaturesSpec,
    MethodSpec,
    Precision,
    ShardSpec,
    Sibling,
    ThreatSpec,
    TrainSpec,
    job_id,
)
from harness.api.threat import Norm, Threat
from harness.attacks import family, resolve
from harness.datasets.holdout import hold_out
from harness.plan.choices import ATTACKS, MOST_IMAGES
from harness.plan.defaults import Setup, setup_for, threat_for
from harness.plan.settings import Settings, combinations
from harness.plugins import code_of
from results.labels import method_labels, protocol_id, settings_of
from results.names import CHECKPOINTS, NATURAL


@dataclass(frozen=True)
class Job:
    """One node of the graph: a spec, its id, and the jobs that must be done before.

    ``label`` is the method, with the settings that tell its trainings apart where there are several.
    """

    spec: AnySpec
    id: str
    needs: tuple[str, ...] = ()
    label: str = ""

    @property
    def kinds(self) -> tuple[tuple[str, ...], ...]:
        """What it may be compared with for the time it takes, the nearest first: one attack and method, one attack.

        The last word of each is the setting: data set, model, and how many epochs or images.
        """
        spec = self.spec
        train = spec if isinstance(spec, TrainSpec) else spec.train
        place = f"{train.dataset.name} {train.model}"
        if isinstance(spec, TrainSpec):
            images = f" of {train.dataset.train_examples}" if train.dataset.train_examples else ""
            setting = f"{place} {train.protocol.epochs} epochs{images}"
            return ((spec.kind, train.method.name, setting), (spec.kind, setting))
        setting = f"{place} {spec.test_examples or 'all'} images"
        if isinstance(spec, EvaluateSpec | ShardSpec) and not self.shards:
            return ((spec.kind, spec.attack.name, train.method.name, setting), (spec.kind, spec.attack.name, setting))
        return (("shards" if self.shards else spec.kind, setting),)

    @property
    def shards(self) -> tuple[str, ...]:
        """Of an evaluation that was divided, the jobs that it puts together."""
        return tuple(need for need in self.needs if need.startswith("shard-"))

    @property
    def title(self) -> str:
        """For people: ``trades seed 0``, ``trades seed 0 best autoattack`` or ``trades (beta=3) seed 0``.

        An attack elsewhere than where the model was trained says so: ``trades seed 0 best fgsm at Linf 4/255``.
        """
        spec = self.spec
        if isinstance(spec, TrainSpec):
            return f"{self.label} seed {spec.seed}"
        kinds = {"diagnose": "diagnosis", "features": "features"}
        what = spec.attack.name if isinstance(spec, EvaluateSpec | ShardSpec) else kinds[spec.kind]
        part = f" shard {spec.index} of {spec.of}" if isinstance(spec, ShardSpec) else ""
        elsewhere = f" at {Threat.of(spec.threat)}" if spec.threat != spec.train.threat else ""
        return f"{self.label} seed {spec.train.seed} {spec.checkpoint} {what}{elsewhere}{part}"


@dataclass(frozen=True)
class Request:
    """The user's words; None means the data set's default.

    ``settings`` are ``--set`` texts ``owner.field=value``, or with several values ``owner.field=1,3,6``; ``eval_eps``
    are the radii to attack at, that of the training where there are none. ``features`` are measured too, or not.
    """

    methods: Sequence[str]
    data: Data
    attacks: Sequence[str] = ATTACKS
    checkpoints: Sequence[str] = CHECKPOINTS
    seeds: Sequence[int] = (0,)
    model: str | None = None
    norm: Norm | None = None
    eps: float | None = None
    eval_eps: Sequence[float] = ()
    epochs: int | None = None
    train_examples: int | None = None
    test_examples: int | None = None
    features: bool = False
    settings: Sequence[str] = field(default_factory=tuple)


def plan(request: Request, earlier: Sequence[EvaluateSpec] = (), auto: Precision = "float32") -> list[Job]:
    """Every job of the experiment, training before its evaluations and these before their diagnosis, each id once.

    ``earlier`` are evaluations done before: a diagnosis takes in those of its checkpoint on the same examples.
    ``auto`` is what that word stands for as a precision of the training: a spec never holds it.

    Raises:
        HarnessError: for any unknown name, misspelt setting or impossible value; nothing has been started.
    """
    setup = setup_for(request.data)
    names = select_methods(request.methods)
    owners = [*names, "protocol", "threat", "diagnostics", "features"]
    every = [Settings(texts, owners) for texts in combinations(request.settings)]
    trains = {job_id(train): train for each in every for train in _trainings(request, setup, names, each, auto)}
    attacks, checkpoints = attack_specs(request.attacks), _checkpoints(request.checkpoints)
    _check_hold_out(request.data, next(iter(trains.values())))
    wanted = setup.test_examples if request.test_examples is None else request.test_examples
    examples, limits = _limit("test", wanted, len(request.data.test)), every[0].limits()
    jobs = [Job(train, train_id) for train_id, train in trains.items()]
    siblings, before = _siblings(trains), defaultdict(list)
    for spec in earlier:
        before[_judged_with(spec)].append(spec)
    for train_id, train in trains.items():
        for checkpoint, threat in product(checkpoints, _threats(train, request.eval_eps)):
            own = Sibling(train=train, train_id=train_id)
            evaluations = _evaluations(own, siblings[train_id], attacks, checkpoint, examples, threat)
            jobs += [*evaluations, _diagnosis(evaluations, before, limits)]
    if request.features:
        shown = min(MOST_IMAGES, examples or len(request.data.test))
        embedding = every[0].parsed("features", {"embedding": Embedding})
        jobs += [_features(*each, shown, embedding) for each in product(trains.items(), checkpoints)]
    labels = _labels(trains)
    return [replace(job, label=labels[getattr(job.spec, "train_id", job.id)]) for job in jobs]


def _labels(trains: Mapping[str, TrainSpec]) -> dict[str, str]:
    """Each training's method, with the settings in which it differs from the others by that method."""
    plain = {train_id: train.model_dump(mode="json") for train_id, train in trains.items()}
    places = {train_id: (spec["method"]["name"], protocol_id(spec)) for train_id, spec in plain.items()}
    shown = method_labels((*places[train_id], settings_of(spec)) for train_id, spec in plain.items())
    return {train_id: shown[place] for train_id, place in places.items()}


def _threats(train: TrainSpec, radii: Sequence[float]) -> list[ThreatSpec]:
    """Where a training is attacked: where it was trained, or at these radii."""
    own = Threat.of(train.threat)
    return [ThreatSpec(**asdict(threat_for(own, None, eps))) for eps in dict.fromkeys(radii)] or [train.threat]


def _trainings(
    request: Request, setup: Setup, names: Sequence[str], settings: Settings, auto: Precision
) -> Iterator[TrainSpec]:
    """One training for each seed and method."""
    threat = threat_for(setup.threat, request.norm, request.eps)
    threat = replace(threat, **settings.parsed("threat", {"step_size": float}))
    short = {"precision": setup.precision} | ({} if request.epochs is None else {"epochs": request.epochs})
    protocol = settings.apply_to_protocol(setup.protocol, short, auto)
    model = request.model or setup.model
    dataset = DatasetSpec(
        name=request.data.name,
        fingerprint=request.data.fingerprint,
        train_examples=_limit("train", request.train_examples, len(request.data.train)),
        validation_fraction=setup.validation_fraction,
    )
    specs = [MethodSpec(name=n, params=settings.method_params(n), code=code_of(methods[n])) for n in names]
    for seed, method in product(request.seeds, specs):
        yield TrainSpec(
            method=method,
            dataset=dataset,
            model=model,
            model_code=code_of(models[model]),
            threat=ThreatSpec(**asdict(threat)),
            protocol=protocol,
            seed=seed,
        )


def _checkpoints(names: Sequence[str]) -> list[str]:
    unknown = [name for name in names if name not in CHECKPOINTS]
    if unknown:
        raise UnknownName("checkpoint", unknown[0], CHECKPOINTS)
    if not names:
        raise HarnessError(f"no checkpoint was named. Known: {', '.join(CHECKPOINTS)}.")
    return list(dict.fromkeys(names))


def select_methods(names: Iterable[str]) -> list[str]:
    """Method names for names and groups (``all``, ``ablations``), each once, in the order asked for."""
    groups: dict[str, list[str]] = {}
    for name, method in methods.items():
        groups.setdefault(method.group, []).append(name)
    chosen: list[str] = []
    for name in names:
        if name not in groups and name not in methods:
            raise UnknownName("method", name, [*methods, *groups])
        chosen += groups.get(name, [name])
    if not chosen:
        raise HarnessError("no method was named: try --methods all, or harness methods for the list")
    return list(dict.fromkeys(chosen))


def _evaluations(
    trained: Sibling,
    related: Sequence[Sibling],
    specs: Sequence[AttackSpec],
    checkpoint: str,
    examples: int | None,
    threat: ThreatSpec,
) -> list[Job]:
    train, train_id, jobs = trained.train, trained.train_id, []
    for attack in specs:
        siblings = related if getattr(attacks[family(attack.name)], "uses_views", False) else []
        spec = EvaluateSpec.model_validate(
            {
                "train": train,
                "train_id": train_id,
                "checkpoint": checkpoint,
                "attack": attack,
                "siblings": siblings,
                "threat": threat,
                "test_examples": examples,
                "seed": train.seed,
            }
        )
        jobs.append(Job(spec, job_id(spec), (train_id, *(each.train_id for each in siblings))))
    return jobs


def _siblings(trains: Mapping[str, TrainSpec]) -> dict[str, list[Sibling]]:
    """For each training those of one seed, protocol and threat by related methods."""
    alike: dict[Hashable, list[Sibling]] = defaultdict(list)
    for name, train in trains.items():
        alike[train.seed, train.protocol, train.threat].append(Sibling(train=train, train_id=name))
    found = {}
    for group in alike.values():
        names = {each.train.method.name for each in group}
        related = {name: {other for other in names if _are_related(name, other)} for name in names}
        for own in group:
            kin = related[own.train.method.name]
            found[own.train_id] = [each for each in group if each.train.method.name in kin] if kin else []
    return found


def _are_related(one: str, other: str) -> bool:
    """Different methods, of which one builds on the other or both on a third: they share a base class."""
    bases = [set(methods[name].__mro__) for name in (one, other)]
    registered = {method for _, method in methods.items()}
    return one != other and bool(bases[0] & bases[1] & registered)


def _judged_with(spec: EvaluateSpec) -> Hashable:
    """What evaluations share that one diagnosis judges."""
    return spec.train_id, spec.checkpoint, spec.threat, spec.test_examples, spec.numerics


def _diagnosis(
    evaluations: Sequence[Job], earlier: Mapping[Hashable, Sequence[EvaluateSpec]], limits: dict[str, float]
) -> Job:
    first = evaluations[0].spec
    assert isinstance(first, EvaluateSpec)
    ids = [job.id for job in evaluations]
    ids += [job_id(spec) for spec in earlier.get(_judged_with(first), ())]
    shared = {name: getattr(first, name) for name in ("train_id", "checkpoint", "threat", "test_examples", "numerics")}
    spec = DiagnoseSpec(
        **shared, train=first.train, seed=first.seed, evaluations=tuple(sorted(set(ids))), limits=limits
    )
    return Job(spec, job_id(spec), (first.train_id, *(job.id for job in evaluations)))


def _features(training: tuple[str, TrainSpec], checkpoint: str, examples: int, own: Mapping[str, Any]) -> Job:
    train_id, train = training
    spec = FeaturesSpec.model_validate(
        {
            **own,
            "train": train,
            "train_id": train_id,
            "checkpoint": checkpoint,
            "threat": train.threat,
            "test_examples": examples,
            "seed": train.seed,
        }
    )
    return Job(spec, job_id(spec), (train_id,))


def attack_specs(names: Iterable[str]) -> list[AttackSpec]:
    """The attacks with all their parameters, ``natural`` first, each once."""
    resolved = {name: resolve(name) for name in dict.fromkeys((NATURAL, *names))}
    return [
        AttackSpec(name=name, params=asdict(attack), code=code_of(type(attack)))  # type: ignore[call-overload]
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
