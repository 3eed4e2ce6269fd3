"""The one place that names the files of a workspace and of a job's directory."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class JobFiles:
    """The files of one job, whose directory bears its id."""

    directory: Path

    @property
    def id(self) -> str:
        """The job's id."""
        return self.directory.name

    @property
    def spec(self) -> Path:
        """What the job is: written by the scheduler before a worker starts."""
        return self.directory / "spec.json"

    @property
    def command(self) -> Path:
        """How the user asked for it first, as a shell takes it: a ``cd`` and the command."""
        return self.directory / "command.txt"

    @property
    def result(self) -> Path:
        """What came of it: the job is done once this file is there."""
        return self.directory / "result.json"

    @property
    def failure(self) -> Path:
        """How the last try failed."""
        return self.directory / "failure.json"

    @property
    def progress(self) -> Path:
        """How far a running job is."""
        return self.directory / "progress.json"

    @property
    def lock(self) -> Path:
        """Held by the worker that does the job."""
        return self.directory / "lock"

    @property
    def log(self) -> Path:
        """What the workers wrote."""
        return self.directory / "log.txt"

    @property
    def history(self) -> Path:
        """One line for each epoch of a training."""
        return self.directory / "history.jsonl"

    @property
    def verdicts(self) -> Path:
        """One bool for each example of an evaluation."""
        return self.directory / "verdicts.npy"

    @property
    def adversarial(self) -> Path:
        """The images that broke an evaluation's examples (:mod:`results.adversarial`)."""
        return self.directory / "adversarial.npz"

    @property
    def features(self) -> Path:
        """What a features job measured (:mod:`results.features`)."""
        return self.directory / "features.npz"

    @property
    def images(self) -> Path:
        """The first test images, as a features job keeps them."""
        return self.directory / "images.npy"

    @property
    def state(self) -> Path:
        """The folder of what a job that was cut off goes on from; gone once it is done."""
        return self.directory / "state"

    @property
    def training_state(self) -> Path:
        """The checkpoint that a training resumes from."""
        return self.state / "training.pt"

    @property
    def evaluation_state(self) -> Path:
        """The finished batches that an evaluation resumes from."""
        return self.state / "evaluation.pt"

    @property
    def adversarial_state(self) -> Path:
        """The folder of the adversarial images found so far."""
        return self.state / "adversarial"

    @property
    def slurm(self) -> Path:
        """The folder of what Slurm was given and printed, where the job ran there; files begin with Slurm's job id."""
        return self.directory / "slurm"

    @property
    def outcome(self) -> tuple[Path, ...]:
        """What is left of a finished job beside ``result.json``, which has the checksums; no kind of job has all."""
        weights = (self.weights("best"), self.weights("last"))
        return (self.spec, self.history, self.verdicts, self.adversarial, self.features, self.images, *weights)

    @property
    def foundation(self) -> tuple[Path, ...]:
        """What other jobs rest on: all but the adversarial images, which only readers look at."""
        return tuple(path for path in self.outcome if path != self.adversarial)

    @property
    def every(self) -> tuple[Path, ...]:
        """All files that a job may have."""
        about = (self.command, self.result, self.failure, self.progress, self.lock, self.log)
        return (*self.outcome, *about, self.training_state, self.evaluation_state)

    def weights(self, checkpoint: str) -> Path:
        """The weights of the checkpoint ``best`` or ``last`` of a training."""
        return self.directory / f"{checkpoint}.safetensors"

    def sibling(self, job_id: str) -> "JobFiles":
        """Another job of the same workspace."""
        return JobFiles(self.directory.parent / job_id)


@dataclass(frozen=True)
class WorkspaceFiles:
    """The files of one workspace."""

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite store."""
        return self.root / "harness.db"

    @property
    def jobs(self) -> Path:
        """The folder of all job directories."""
        return self.root / "jobs"

    @property
    def reports(self) -> Path:
        """Tables and figures."""
        return self.root / "reports"

    @property
    def page(self) -> Path:
        """The leaderboard."""
        return self.reports / "page.html"

    @property
    def plan(self) -> Path:
        """All jobs of the last run."""
        return self.root / "plan.json"

    @property
    def costs(self) -> Path:
        """What a job of each kind takes, as measured before, or as somebody has written it."""
        return self.root / "costs.csv"

    @property
    def schedulers(self) -> Path:
        """The folder in which each run that is at work holds a lock."""
        return self.root / "schedulers"

    @property
    def output(self) -> Path:
        """What runs without a terminal print."""
        return self.root / "run.log"

    @property
    def slurm(self) -> Path:
        """What Slurm was given and printed beside that of the jobs."""
        return self.root / "slurm"

    @property
    def cancellations(self) -> Path:
        """The folder of files that ask whoever runs a job to end it."""
        return self.root / "cancelled"

    def cancellation(self, job_id: str) -> Path:
        """The one for a job."""
        return self.cancellations / job_id

    def experiment(self, key: str) -> Path:
        """What one or more runs asked for, as a file that asks for it again."""
        return self.root / "experiments" / f"{key}.toml"

    def call(self, key: str) -> Path:
        """What a call of ``harness run`` that is done was planned into."""
        return self.root / "calls" / f"{key}.json"

    def job(self, job_id: str) -> JobFiles:
        """The files of one job."""
        return JobFiles(self.jobs / job_id)
