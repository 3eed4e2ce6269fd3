"""What stands in the way of a job is kept under another name, and the job is done again."""

import logging
import os

from filelock import FileLock

from harness.api.specs import AnySpec, parse_spec
from harness.compute.files import aside, save_text
from results.checksums import is_intact
from results.errors import Damaged
from results.layout import JobFiles

log = logging.getLogger("harness")


def make_way(files: JobFiles) -> None:
    """Keep aside what has the name of one of the job's files or folders and is none, such as a folder ``log.txt``."""
    if not os.path.lexists(files.directory):
        return
    folders = (files.directory, files.state, files.adversarial_state, files.slurm)
    wrong = [folder for folder in folders if folder.exists() and not folder.is_dir()]
    for path in (*wrong, *(path for path in files.every if path.exists() and not path.is_file())):
        log.warning("%s is in the way of job %s: it is now %s", path, files.id, aside(path).name)


def write_spec(files: JobFiles, spec: AnySpec) -> None:
    """Have ``spec.json`` say ``spec``, whatever became of it; the job's worker flushes it before the result."""
    text = spec.model_dump_json(indent=1)
    try:
        found = files.spec.read_text(encoding="utf-8")
        if found == text or parse_spec(found) == spec:
            return
        log.warning("%s was not what it must be, and was written again", files.spec)
    except FileNotFoundError:
        pass
    except ValueError as error:  # no UTF-8, no JSON, no spec
        log.warning("%s was damaged, and was written again: %s", files.spec, str(error).partition("\n")[0])
    save_text(files.spec, text, flushed=False)


def reopen(files: JobFiles, damage: Damaged) -> None:
    """Make a finished job one that is to be done: ``result.json`` and what does not fit it are kept aside.

    Where nothing has a checksum, that is all there is. A worker that is doing the job again is waited for.
    """
    with FileLock(files.lock):
        if not files.result.exists():
            return
        there = [path for path in files.outcome if path.exists()]
        unfit = [path for path in there if not is_intact(files, path)] or there
        kept = [aside(path).name for path in (files.result, *unfit)]
    log.warning("%s; the job is done again, and the old files are kept as %s", damage, ", ".join(kept))
