"""Job specs: plain, frozen, fully resolved values. A job is a pure function of its spec; its id is the spec's hash."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from harness.version import EVALUATION_NUMERICS, TRAINING_NUMERICS

Precision = Literal["float32", "bfloat16"]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Embedding = Literal["tsne", "umap"]
# The hash of a third party's source; None, and left out, for what ships with the harness.
Code = Annotated[str | None, Field(exclude_if=lambda code: code is None)]


class Spec(BaseModel):
    """Base of every spec: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodSpec(Spec):
    """A method by name with all its hyperparameters; ``code`` hashes a third party's source."""

    name: str
    params: dict[str, Any]
    code: Code = None


class AttackSpec(Spec):
    """An attack by the name the user typed, with all its parameters; ``code`` hashes a third party's source."""

    name: str
    params: dict[str, Any]
    code: Code = None


class ImagesSpec(Spec):
    """The exact images: ``fingerprint`` hashes all of them (where they lie is no part of the identity)."""

    name: str
    fingerprint: str


class DatasetSpec(ImagesSpec):
    """The images, and which of them are trained on."""

    train_examples: int | None = None
    validation_fraction: Fraction


class ThreatSpec(Spec):
    """The fields of :class:`harness.api.threat.Threat`."""

    norm: Literal["Linf", "L2"]
    eps: float
    step_size: float


class Protocol(Spec):
    """How every method is trained alike. Defaults: SGD as in Zhou et al. 2023 (ANCRA, arXiv 2310.03358).

    ``milestones`` are fractions of the training (75, 90, 100 of 120 epochs), so that a shorter run keeps the shape;
    ``piecewise`` multiplies the rate by 0.1 at each, ``cosine`` anneals to 0, ``cyclic`` rises linearly to ``lr``
    over the first 40 % and falls to 0, ``constant`` stays. ``weight_averaging`` is the decay of an exponential moving
    average of the weights (0: none), which is then the model that is kept. ``selection_steps`` are the PGD steps on
    the validation split that choose ``best``. ``precision`` is that of the training; what plans call ``auto`` is one of
    the two here.
    """

    epochs: int = Field(120, ge=1)
    batch_size: int = Field(128, ge=2)
    lr: float = Field(0.01, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(2e-4, ge=0)
    schedule: Literal["piecewise", "cosine", "cyclic", "constant"] = "piecewise"
    milestones: tuple[Fraction, ...] = (0.625, 0.75, 5 / 6)
    augmentation: Literal["none", "crop-flip", "crop"] = "crop-flip"
    weight_averaging: float = Field(0.0, ge=0, lt=1)
    precision: Precision = "float32"
    selection_steps: int = Field(10, ge=1)


class TrainSpec(Spec):
    """One training job."""

    kind: Literal["train"] = "train"
    method: MethodSpec
    dataset: DatasetSpec
    model: str
    model_code: Code = None
    threat: ThreatSpec
    protocol: Protocol
    seed: int
    numerics: int = TRAINING_NUMERICS


class ExternalSpec(Spec):
    """A model that was not trained here, in the place of its training.

    ``method`` is what it is called, where it came from, and the hash of its weights.
    """

    kind: Literal["external"] = "external"
    method: MethodSpec
    dataset: ImagesSpec
    model: str
    seed: int


class Sibling(Spec):
    """A model of a related method trained in the same run, whose adversarial examples are tried as well."""

    train: TrainSpec
    train_id: str


class _OfCheckpoint(Spec):
    """What is done to one checkpoint of one training, on the first ``test_examples`` (None: all) of the test set."""

    train: TrainSpec
    train_id: str
    checkpoint: Literal["best", "last"]
    threat: ThreatSpec
    test_examples: int | None = Field(None, ge=1)
    batch_size: int = Field(500, ge=1)
    seed: int
    numerics: int = EVALUATION_NUMERICS


class _UnderAttack(_OfCheckpoint):
    """One checkpoint under one attack."""

    attack: AttackSpec
    siblings: tuple[Sibling, ...] = ()


class EvaluateSpec(_UnderAttack):
    """One evaluation job: all of the examples."""

    kind: Literal["evaluate"] = "evaluate"


class ShardSpec(_UnderAttack):
    """A part of the evaluation job ``evaluation``: of its batches number ``index``, ``index + of``, and so on."""

    kind: Literal["shard"] = "shard"
    evaluation: str
    index: int = Field(ge=0)
    of: int = Field(ge=2)


class DiagnoseSpec(_OfCheckpoint):
    """One diagnosis job: whether the results of the jobs ``evaluations`` on one checkpoint are to be believed.

    ``limits`` are the thresholds that the user set, by name (:mod:`harness.trust.findings`).
    """

    kind: Literal["diagnose"] = "diagnose"
    evaluations: tuple[str, ...]
    limits: dict[str, float] = {}


class FeaturesSpec(_OfCheckpoint):
    """One features job: what the final classifier of one checkpoint sees of natural and attacked test images.

    ``embedding`` is how the features are laid out in two dimensions.
    """

    kind: Literal["features"] = "features"
    embedding: Embedding = "tsne"


AnySpec = TrainSpec | EvaluateSpec | ShardSpec | DiagnoseSpec | FeaturesSpec


def job_id(spec: "AnySpec | ExternalSpec") -> str:
    """``<kind>-<16 hex digits>``: the hash of the spec's canonical JSON."""
    return hashed_id(spec.model_dump(mode="json"))


def hashed_id(spec: Mapping[str, Any]) -> str:
    """The id of a spec as JSON has it."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return f"{spec['kind']}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


_ANY: TypeAdapter[AnySpec] = TypeAdapter(Annotated[AnySpec, Field(discriminator="kind")])


def parse_spec(text: str) -> AnySpec:
    """The spec in a ``spec.json``."""
    return _ANY.validate_json(text)
