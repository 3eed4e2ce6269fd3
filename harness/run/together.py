"""One training on several devices: its worker process starts a helper for each device but its own."""

import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch
import torch.distributed as dist

from harness.api.specs import TrainSpec, parse_spec
from harness.datasets import load
from harness.plugins import load_plugins
from harness.run.workspace import Workspace
from harness.training.group import Group
from harness.training.loop import train

_HELP = "from harness.run.together import help_train; help_train()"
_END = 60.0  # seconds in which helpers end after the last epoch


@contextmanager
def together(job_id: str, workspace: Workspace, devices: Sequence[str]) -> Iterator[Group]:
    """A group of a process for each device, of which this one leads; helpers do the same training, and end with it.

    Raises:
        ChildProcessError: if a helper dies.
    """
    if len(devices) == 1:
        yield Group()
        return
    files = workspace.job(job_id)
    meeting = files.state / "meeting"
    meeting.parent.mkdir(parents=True, exist_ok=True)
    meeting.unlink(missing_ok=True)
    abouts = [(job_id, workspace, [*devices], rank, torch.get_num_threads()) for rank in range(1, len(devices))]
    with ExitStack() as stack:
        log = stack.enter_context(files.log.open("a"))
        helpers = [_helper(about, log.fileno(), stack) for about in abouts]
        try:
            if not all(helper.stdout and helper.stdout.readline() for helper in helpers):
                raise ChildProcessError("it did not start")
            with _joined(meeting, devices, 0) as group:
                yield group
            for helper in helpers:
                helper.wait(_END)
        except (ChildProcessError, RuntimeError) as error:  # among them what the others say when one is gone
            if code := next(filter(None, map(_exit_code, helpers)), None):
                raise ChildProcessError(f"a process of this training died (exit code {code}): {error}") from error
            raise


def _helper(about: tuple[object, ...], log: int, stack: ExitStack) -> subprocess.Popen[bytes]:
    """A process for one more device, which ends with the stack."""
    helper = stack.enter_context(
        subprocess.Popen([sys.executable, "-c", _HELP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    )
    stack.callback(helper.kill)
    assert helper.stdin
    helper.stdin.write(pickle.dumps(about))
    helper.stdin.flush()
    return helper


def _exit_code(helper: subprocess.Popen[bytes]) -> int | None:
    with suppress(subprocess.TimeoutExpired):
        return helper.wait(1)
    return None


@contextmanager
def _joined(meeting: Path, devices: Sequence[str], rank: int) -> Iterator[Group]:
    """The group, once all processes have come to ``meeting``, a file that is made for it."""
    own = torch.device(devices[rank])
    if own.type == "cuda":
        torch.cuda.set_device(own)
    backend = "nccl" if own.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{meeting}", rank=rank, world_size=len(devices))
    try:
        yield Group(rank, len(devices))
    finally:
        dist.destroy_process_group()


def help_train() -> None:
    """What a helper does: the training that its standard input names, of which it writes nothing."""
    job_id, workspace, devices, rank, threads = pickle.load(sys.stdin.buffer)
    torch.set_num_threads(threads)
    files = workspace.job(job_id)
    load_plugins(workspace.plugins)
    spec = parse_spec(files.spec.read_text(encoding="utf-8"))
    assert isinstance(spec, TrainSpec)
    data = load(workspace.dataset, workspace.data_root)
    print("ready", flush=True)
    with _joined(files.state / "meeting", devices, rank) as group:
        train(spec, data, torch.device(devices[rank]), files, lambda _: None, group)
