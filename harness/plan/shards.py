"""Evaluations divided into shards, which run at the same time on several devices."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import ceil

from harness.api.attack import InRounds
from harness.api.specs import EvaluateSpec, ShardSpec, job_id
from harness.attacks import resolve
from harness.plan.graph import Job
from results.names import NATURAL


def in_shards(jobs: Sequence[Job], count: int, examples: int, done: Callable[[str], bool]) -> list[Job]:
    """The same jobs, each evaluation after up to ``count`` shards whose outcomes it puts together.

    ``examples`` are those of the whole test set; what is ``done``, by its id, stays as it is. So do evaluations of one
    batch, those without an attack, and attacks in rounds, which choose by what is known of all examples.
    """
    if count == 1:
        return [*jobs]
    return [each for job in jobs for each in _divided(job, count, examples, done)]


def _divided(job: Job, count: int, examples: int, done: Callable[[str], bool]) -> Iterator[Job]:
    spec = job.spec
    if isinstance(spec, EvaluateSpec) and _can_be_divided(spec.attack.name) and not done(job.id):
        of = min(count, ceil((spec.test_examples or examples) / spec.batch_size))
        whole = spec.model_dump(exclude={"kind"})
        specs = [ShardSpec(**whole, evaluation=job.id, index=index, of=of) for index in range(of)] if of > 1 else []
        shards = [replace(job, spec=shard, id=job_id(shard)) for shard in specs]
        yield from shards
        job = replace(job, needs=(*job.needs, *(shard.id for shard in shards)))
    yield job


def _can_be_divided(attack: str) -> bool:
    return attack != NATURAL and not isinstance(resolve(attack), InRounds)
