"""What the documents show works as written."""

import re
from pathlib import Path

import pytest
import torch
import typer.main
from oracles import LABELS, MARGINS, Threshold, constant_images
from zoo import BROKEN, HONEST

from harness.api.specs import Protocol, TrainSpec
from harness.api.threat import Threat
from harness.attacks import resolve
from harness.cli import app
from harness.datasets import load
from harness.plan.defaults import _SETUPS, Setup
from harness.plan.graph import Request, plan, select_methods
from harness.plugins import REGISTRIES, load_plugins
from harness.training.loop import train
from harness.trust.checks import CHECKS, checks_table
from results.layout import JobFiles

ROOT = Path(__file__).parents[2]
README, TRUST, EXTENDING, PROTOCOL = (
    (ROOT / name).read_text() for name in ("README.md", "docs/trust.md", "docs/extending.md", "docs/protocol.md")
)
METHOD, MODEL, DATASET, ATTACK = re.findall(r"```python\n(.*?)```", EXTENDING, re.S)


def python_blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.S)


def test_the_example_method_is_a_plugin_of_thirty_lines_that_trains(train_spec, digits, tmp_path):
    assert len(METHOD.splitlines()) <= 30
    file = tmp_path / "my_at.py"
    file.write_text(METHOD)
    load_plugins([file])
    result = train(train_spec("my-at", epochs=1), digits, torch.device("cpu"), JobFiles(tmp_path), lambda _: None)
    assert result["epochs"] == 1


def test_the_example_model_and_data_set_are_plugins_that_train(tmp_path):
    """Both methods of the command, for an epoch."""
    files = [tmp_path / name for name in ("my_net.py", "stripes.py")]
    for file, source in zip(files, (MODEL, DATASET), strict=True):
        file.write_text(source)
    load_plugins(files)
    plugins = "--plugin my_net.py --plugin stripes.py --dataset stripes --model my-net"
    assert f"    harness run {plugins} --methods pgd-at,pgd-at-ancra --epochs 5\n" in EXTENDING
    stripes = load("stripes", tmp_path)
    request = Request(methods=["pgd-at", "pgd-at-ancra"], data=stripes, model="my-net", attacks=[], epochs=1)
    for job in plan(request):
        if isinstance(job.spec, TrainSpec):
            result = train(job.spec, stripes, torch.device("cpu"), JobFiles(tmp_path / job.id), lambda _: None)
            assert result["epochs"] == 1


def test_the_example_attack_is_a_plugin_that_finds_what_can_be_found(tmp_path):
    """Margin 0.05 of the mean falls to a random corner of 16 pixels, with chance 0.1 each try; margin 0.45 cannot."""
    file = tmp_path / "corners.py"
    file.write_text(ATTACK)
    load_plugins([file])
    attack, threat = resolve("corners:tries=50"), Threat("Linf", 0.2)
    x = constant_images([0.55, 0.95])
    generator = torch.Generator().manual_seed(0)
    found = attack(Threshold(), x, torch.ones(2, dtype=torch.long), threat, generator=generator, views={})
    assert Threshold()(found).argmax(1).tolist() == [0, 1]
    assert threat.contains(x, found).all()


def test_the_protocol_page_has_every_default():
    """Each setting of the training protocol with the standard default, and those of other data sets."""
    for name in Protocol.model_fields:
        (row,) = re.findall(rf"^\| `{name}` \| (.*?) \| (.*?) \|", PROTOCOL, re.M)
        defaults = {
            data: setup.precision if name == "precision" else getattr(setup.protocol, name)
            for data, setup in {"": Setup(), **_SETUPS}.items()
        }
        others = [f"{data} {shown(value)}" for data, value in defaults.items() if value != defaults[""]]
        assert row == (shown(defaults[""]), "; ".join(others))


def shown(value):
    if isinstance(value, tuple):
        return ", ".join(f"{part:.3g}" for part in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def test_the_library_example_runs():
    (source,) = python_blocks(README)
    scope = {"model": Threshold(), "x": constant_images(MARGINS), "y": LABELS}
    exec(source, scope)
    assert set(scope["r"].accuracy) == {"natural", "fgsm", "pgd-20", "cw", "autoattack", "adaptive", "worst-case"}
    assert scope["r"].verdict in ("trusted", "suspect", "masked")


@pytest.mark.parametrize("command", typer.main.get_command(app).commands)
def test_the_readme_names_every_command(command):
    assert f"`{command}`" in README or f"harness {command}" in README or re.search(rf"also:.*\b{command}\b", README)


@pytest.mark.parametrize("kind", ["methods", "models", "datasets"])
def test_the_readme_names_everything_registered(kind):
    names = select_methods(["all"]) if kind == "methods" else list(REGISTRIES[kind])
    assert [name for name in names if f"`{name}`" not in README] == []


def test_the_table_of_checks_is_the_one_in_force():
    shown = re.search(r"<!-- checks -->\n(.*?)<!-- /checks -->", TRUST, re.S)
    assert shown
    assert shown[1] == checks_table()


@pytest.mark.parametrize("verdict", ["trusted", "suspect", "masked"])
def test_every_verdict_is_explained(verdict):
    assert f"| `{verdict}` |" in TRUST


def test_the_tested_versions_satisfy_the_requirements():
    """Every requirement of the wheel has a tested version in constraints.txt."""
    tested = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    requirements = re.findall(r'^    "([A-Za-z0-9_-]+)[><=]', (ROOT / "pyproject.toml").read_text(), re.M)
    assert len(requirements) >= 15
    assert {name.lower() for name in requirements} <= tested


def test_every_document_counts_the_zoo_and_the_checks_alike():
    zoo = f"{len(BROKEN)} broken defences and {len(HONEST)} honest models"
    for name in ("README.md", "CHANGELOG.md", "benchmarks/README.md"):
        assert zoo in " ".join((ROOT / name).read_text().split()), name
    assert f"holds {len(BROKEN)} models that look robust and are not" in " ".join(TRUST.split())
    assert f"none of {len(CHECKS)} checks found anything" in README
    assert f"): {len(CHECKS)} in all" in " ".join((ROOT / "CHANGELOG.md").read_text().split())


def test_every_path_that_a_document_names_is_there():
    """Files and folders of the project in backquotes, as they are after every move."""
    pages = [str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")]
    for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", *pages):
        rooms = "harness|methods|results|reports|tests|benchmarks|docs"
        for path in re.findall(rf"`((?:{rooms})/[\w./]*)`", (ROOT / name).read_text()):
            assert (ROOT / path).exists(), (name, path)
