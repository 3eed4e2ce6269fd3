"""The shapes of the files in a job directory."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

# What a column of any engine holds: PostgreSQL takes no text with a zero byte.
Word = Annotated[str, Field(pattern=r"^[^\x00]*$")]
Whole = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Large = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Said = Annotated[str, AfterValidator(lambda text: text.replace("\0", "\N{REPLACEMENT CHARACTER}"))]


class File(BaseModel):
    """Values must have their types, numbers be finite; keys that nobody named are kept."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, allow_inf_nan=False)


class Named(File):
    """A method or an attack with its parameters."""

    name: Word
    params: dict[str, Any] = {}


class Dataset(File):
    """The data set, of which the name alone is of interest here."""

    name: Word


class Threat(File):
    """The ball that perturbations stay in."""

    norm: Word
    eps: float


class ModelFile(File):
    """Where a model comes from: a training, or elsewhere."""

    kind: Literal["train", "external"]
    method: Named
    dataset: Dataset
    model: Word
    seed: Large


class TrainFile(ModelFile):
    """``spec.json`` of a training."""

    kind: Literal["train"]
    threat: Threat


class EvaluateFile(File):
    """``spec.json`` of an evaluation."""

    kind: Literal["evaluate"]
    train: ModelFile
    train_id: Word
    checkpoint: Word
    attack: Named
    threat: Threat


class DiagnoseFile(File):
    """``spec.json`` of a diagnosis."""

    kind: Literal["diagnose"]
    train: ModelFile
    train_id: Word
    checkpoint: Word
    threat: Threat
    evaluations: list[str]


class FeaturesFile(File):
    """``spec.json`` of a features job."""

    kind: Literal["features"]
    train: ModelFile
    train_id: Word
    checkpoint: Word
    threat: Threat
    embedding: Word


class Result(File):
    """What every ``result.json`` says; ``files`` are SHA-256 sums (:mod:`results.checksums`), none in old ones."""

    id: str
    started: AwareDatetime
    finished: AwareDatetime
    seconds: float
    device: Word
    versions: dict[str, Any]
    code: Word | None
    files: dict[str, str] = {}


class TrainResult(Result):
    """``result.json`` of a training."""

    kind: Literal["train"]
    best_epoch: Whole
    epochs: Whole
    images_per_second: float
    peak_memory: Large | None
    parameters: Large


class EvaluateResult(Result):
    """``result.json`` of an evaluation."""

    kind: Literal["evaluate"]
    correct: Whole
    examples: Whole = Field(ge=1)
    forwards: Large
    backwards: Large | None = None
    correct_low: Whole | None = None
    details: dict[str, Any] = {}


class Finding(File):
    """One reason to doubt the numbers."""

    code: str
    severity: str
    message: str
    evidence: str
    advice: str


class DiagnoseResult(Result):
    """``result.json`` of a diagnosis."""

    kind: Literal["diagnose"]
    verdict: Literal["trusted", "suspect", "masked"]
    findings: list[Finding]
    probes: dict[str, Any]


class FeaturesResult(Result):
    """``result.json`` of a features job."""

    kind: Literal["features"]
    images: Whole


class Failure(File):
    """``failure.json``."""

    error: Said
    traceback: Said
    log: Said
    finished: AwareDatetime


class Line(File):
    """One line of ``history.jsonl``."""

    epoch: Whole = Field(ge=1)
    lr: float
    loss: float
    terms: dict[str, float] = {}
    validation_natural: float | None = None
    validation_robust: float | None = None
    images_per_second: float | None = None
    peak_memory: Large | None = None
    seconds: float | None = None


SpecFile = TrainFile | EvaluateFile | DiagnoseFile | FeaturesFile
SPEC: TypeAdapter[SpecFile] = TypeAdapter(Annotated[SpecFile, Field(discriminator="kind")])
TRAIN_RESULT, EVALUATE_RESULT = TypeAdapter(TrainResult), TypeAdapter(EvaluateResult)
DIAGNOSE_RESULT, FEATURES_RESULT = TypeAdapter(DiagnoseResult), TypeAdapter(FeaturesResult)
FAILURE, LINE = TypeAdapter(Failure), TypeAdapter(Line)
