"""Whatever is in a file or a word, it is taken, or refused in the harness's own words."""

import contextlib
import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from results_jobs import write_evaluate

from harness.api.errors import HarnessError
from harness.api.specs import Protocol, parse_spec
from harness.plan.settings import Settings, combinations
from harness.plugins import import_file
from harness.run.status import state_of
from results.directory import read_job
from results.layout import JobFiles
from results.store import Store

quick = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@quick
@given(text=st.text() | values.map(json.dumps) | st.integers(100, 100_000).map(lambda depth: "[" * depth))
def test_what_is_no_spec_is_refused_as_one(text):
    with pytest.raises(ValidationError):
        parse_spec(text)


@pytest.fixture
def store(place):
    return Store.open(place)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A finished evaluation: its directory, and its spec."""
    directory = write_evaluate(tmp_path_factory.mktemp("jobs"), "a", [True, False])
    return directory, json.loads((directory / "spec.json").read_text())


SPEC = [f"spec.{name}" for name in ("kind", "train", "train_id", "checkpoint", "attack", "threat")]
RESULT = [f"result.{name}" for name in ("kind", "seconds", "device", "versions", "code", "other", "details")]
RESULT += [f"result.{name}" for name in ("forwards", "backwards", "correct_low")]


@quick
@given(where=st.sampled_from(SPEC + RESULT), value=values)
@example(where="result.forwards", value=2**63)
@example(where="result.correct_low", value=2**31)
@example(where="result.details", value={"\0": ["\0", float("nan"), 2**70]})
@example(where="result.other", value="\0")
@example(where="result.device", value="\0")
@example(where="spec.attack", value={"name": "\0"})
def test_a_job_that_says_something_else_is_stored_or_refused_on_every_engine(store, job, where, value):
    """A value of any kind in any place: the state can be told, and storing it ends in a HarnessError at worst."""
    directory, _ = job
    file, name = directory / f"{where.partition('.')[0]}.json", where.partition(".")[2]
    whole = file.read_text()
    file.write_text(json.dumps({**json.loads(whole), name: value}))
    try:
        assert state_of(JobFiles(directory)).state in ("done", "damaged")
        with contextlib.suppress(HarnessError):
            assert store.ingest(directory)
            store.remove([directory.name])
    finally:
        file.write_text(whole)


@quick
@given(content=st.binary(max_size=64), name=st.sampled_from(["spec.json", "result.json", "verdicts.npy"]))
def test_a_job_of_any_bytes_is_refused_by_the_files_name(job, content, name):
    directory, spec = job
    (directory / "spec.json").write_text(json.dumps(spec))
    whole = (directory / name).read_bytes()
    (directory / name).write_bytes(content)
    try:
        state_of(JobFiles(directory))
        with pytest.raises(HarnessError, match=name):
            read_job(directory)
    finally:
        (directory / name).write_bytes(whole)


@quick
@given(
    text=st.text() | st.text(max_size=12).map("protocol.lr={}".format) | st.text(max_size=12).map("protocol.{}".format)
)
def test_any_setting_is_taken_or_refused(text):
    for chosen in combinations([text]):
        with contextlib.suppress(HarnessError):
            changed = Settings(chosen, ["protocol"]).apply_to_protocol(Protocol(), {}, "float32")
            assert changed.lr > 0


@quick
@given(content=st.binary(max_size=64) | st.text(max_size=64).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_a_plugin_of_any_bytes_is_imported_or_refused(tmp_path, content):
    """Hardly any is Python; none brings the harness down."""
    file = tmp_path / "odd.py"
    file.write_bytes(content)
    with contextlib.suppress(HarnessError):
        import_file(file, "plugin")
