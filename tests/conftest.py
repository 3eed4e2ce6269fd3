"""What several test files share: a small real data set and specs for quick jobs."""

import os

import one_postgres
import pytest
import torch
from hypothesis import settings
from sqlalchemy import create_engine, make_url

from harness import plugins
from harness.api.specs import TrainSpec
from harness.attacks.reference import own_trace
from harness.datasets import load
from harness.plan.graph import Request, plan
from harness.plugins import load_plugins
from results.store import Store

# Tests share the cores with one another and with the processes that they start, which wait for one another by spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)
# On a busy machine any example may wait for longer than a deadline; what fails is printed so that it can be repeated.
settings.register_profile("harness", deadline=None, print_blob=True)
settings.load_profile("harness")


@pytest.fixture(autouse=True)
def kept_trace_function():
    """pyautoattack, which some tests call as the reference, switches debuggers and coverage off: switch them on."""
    with own_trace():
        yield


@pytest.fixture(autouse=True)
def kept_registries():
    """Plugins that a test loads are gone after it."""
    everything = plugins.REGISTRIES.values()
    load_plugins()
    before, loaded = [entry.snapshot() for entry in everything], set(plugins._loaded)
    yield
    for entry, names in zip(everything, before, strict=True):
        entry.restore(names)
    plugins._loaded.clear()
    plugins._loaded.update(loaded)
    plugins.skipped.clear()


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The embedded digits, 1,300 training and 497 test images of 8x8."""
    load_plugins()
    return load("digits", tmp_path_factory.mktemp("data"))


@pytest.fixture
def store(tmp_path):
    """An empty database in a directory of the test's own."""
    return Store.open(tmp_path / "harness.db")


@pytest.fixture(scope="session")
def postgres():
    """The URL of a PostgreSQL that is started for these tests."""
    pytest.importorskip("psycopg")
    if why := one_postgres.lacking():
        pytest.skip(why)
    with one_postgres.running() as url:
        yield url


@pytest.fixture
def on_postgres(postgres):
    """The URL of an empty database on a PostgreSQL."""
    engine = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in ("DROP DATABASE IF EXISTS team WITH (FORCE)", "CREATE DATABASE team"):
            connection.exec_driver_sql(statement)
    engine.dispose()
    return make_url(postgres).set(database="team").render_as_string()


@pytest.fixture(params=["file", "memory", "postgres"])
def place(request, tmp_path):
    """Each of the places that a store may lie in, empty."""
    if request.param == "postgres":
        return request.getfixturevalue("on_postgres")
    return tmp_path / "harness.db" if request.param == "file" else "sqlite://"


@pytest.fixture(scope="session")
def train_spec(digits):
    """A factory of quick training specs: ``train_spec("trades", epochs=2, lr=0.1)``."""

    def make(method="pgd-at", *, examples=200, settings=(), epochs=2, **changes) -> TrainSpec:
        request = Request(methods=[method], data=digits, epochs=epochs, train_examples=examples, settings=settings)
        spec = plan(request)[0].spec
        return spec.model_copy(update={"protocol": spec.protocol.model_copy(update=changes)})

    return make


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """What the members of the zoo are made of, trained once for all of pytest-xdist's workers."""
    from zoo import Bases

    own = tmp_path_factory.getbasetemp()
    directory = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "zoo"
    directory.mkdir(exist_ok=True)
    return Bases(directory)
