"""The leaderboard without a browser: what its rows say, and that nothing in them becomes markup."""

import json
import re
import shlex
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser

import pytest
from command_line import harness
from page_example import COMMAND, HOSTILE, PAPER, board_of, many, measured_workspace
from results_jobs import write_evaluate, write_train

from harness.api.specs import job_id
from harness.plan.graph import Request, plan
from reports.page.compact import compact, script_json
from reports.page.entries import published
from reports.page.html import COLUMNS, data, page
from reports.published import Claim, read_published
from results.layout import WorkspaceFiles
from results.store import Store


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return measured_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def entries(files):
    return board_of(files).entries


def own(entries, method):
    return next(entry for entry in entries if entry.measured and entry.method == method)


def accuracy(entry):
    return {score.attack: score.accuracy for score in entry.scores}


def test_a_row_has_the_mean_over_the_seeds_and_its_interval(entries):
    """By hand: 50 and 52 of 100 under the adaptive attack, 55 twice under AutoAttack."""
    trades = own(entries, "trades")
    assert accuracy(trades) == pytest.approx(
        {"natural": 0.905, "autoattack": 0.55, "adaptive": 0.51, "worst-case": 0.51}
    )
    worst = trades.score("worst-case")
    assert worst.std == pytest.approx(0.0002**0.5)
    assert worst.low < 0.51 < worst.high
    assert (trades.seeds, trades.gap) == ((0, 1), pytest.approx(0.04))


def test_a_row_gives_the_reason_of_its_verdict(entries):
    (finding,) = own(entries, "mart").findings
    assert (finding.severity, finding.message, finding.evidence) == ("masked", f"no gradient {HOSTILE}", "seen")
    assert own(entries, "mart").score("autoattack").inflated
    assert own(entries, "trades").findings == []


def test_what_was_not_diagnosed_says_so(entries):
    (finding,) = own(entries, "pgd-at").findings
    assert (finding.code, own(entries, "pgd-at").verdict) == ("not diagnosed", "suspect")


def test_the_command_is_the_one_that_was_typed_without_its_folder(entries):
    assert own(entries, "trades").command == COMMAND


@pytest.mark.parametrize(
    "settings", [["trades.beta=3"], ["protocol.milestones=[0.5, 0.75]", "protocol.lr=0.05", "threat.step_size=0.03"]]
)
def test_a_command_made_of_the_settings_makes_the_same_training(settings, digits, tmp_path):
    """Planned, it finds the training done."""
    request = Request(["trades"], digits, seeds=[3], eps=8 / 255, epochs=7, train_examples=900, settings=settings)
    spec = plan(request)[0].spec
    plain = spec.model_dump(mode="json")
    name = job_id(spec).removeprefix("train-")
    changes = {key: value for key, value in plain.items() if key not in ("method", "seed")}
    write_train(tmp_path / "jobs", name, seed=3, **changes)
    (tmp_path / f"jobs/train-{name}/spec.json").write_text(json.dumps(plain))
    write_evaluate(tmp_path / "jobs", "a", [1, 0] * 100, train=name, spec=plain, threat=plain["threat"], attack="fgsm")
    Store.open(tmp_path / "harness.db").ingest_all(tmp_path / "jobs")
    (row,) = [entry for entry in board_of(WorkspaceFiles(tmp_path)).entries if entry.measured]
    planned = harness(*shlex.split(row.command)[1:], "--workspace", tmp_path, "--dry-run")
    assert re.search(r"train +1 +1\b", planned), planned


def test_published_figures_are_rows_of_their_own(entries):
    """Every figure of the file once, and none in a measured row."""
    rows = [entry for entry in entries if not entry.measured]
    assert sum(len(row.scores) for row in rows) == len(read_published())
    assert all(row.verdict is None and row.source and not row.seeds for row in rows)
    one = Claim("trades", "digits", "small-cnn", "Linf 0.2", "natural", 0.99, "a thesis", "chosen on the test set")
    (row,) = published([one])
    assert (row.scores[0].note, row.scores[0].low) == ("chosen on the test set", None)


def test_the_paper_comes_with_the_row_where_the_results_name_it(entries):
    assert own(entries, "trades").paper == PAPER
    assert own(entries, "mart").paper == {}


def unpacked(packed, name, row):
    column = packed["columns"][name]
    word = column["at"][row]
    return [column["words"][at] for at in column["lists"][word]] if "lists" in column else column["words"][word]


def test_what_is_packed_can_be_read_back(entries):
    text = script_json(compact(entries))
    assert not set("<>&") & set(text)
    packed = json.loads(text)
    assert packed["rows"] == len(entries)
    for row, entry in enumerate(entries):
        assert unpacked(packed, "method", row) == entry.method
        assert " ".join(unpacked(packed, "command", row)) == entry.command
        assert unpacked(packed, "settings", row) == list(entry.settings)
        assert unpacked(packed, "findings", row) == [text for finding in entry.findings for text in finding]
        for score in entry.scores:
            found = unpacked(packed, f"score:{score.attack}", row)
            assert found[0] == round(10000 * score.accuracy)
            assert (found[7] if len(found) > 7 else "") == score.note


class Elements(HTMLParser):
    """How often each element begins, and the attributes that can run something."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.handlers = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_no_name_ends_the_script_or_makes_an_element(entries):
    """The same elements as without any rows, whatever the rows, title and notice are called."""
    text = page(entries, HOSTILE, [HOSTILE])
    assert Elements(text).tags == Elements(page([], "plain", ["plain"])).tags
    assert Elements(text).handlers == []
    assert HOSTILE not in text
    assert HOSTILE in json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])["columns"]["method"]["words"]


def test_the_page_loads_nothing_and_is_the_same_for_the_same_database(files):
    first, second = (page(board_of(files).entries) for _ in range(2))
    assert first == second
    assert not re.search(r"(src|href)=\"(?!data:)|@import|url\(", first)
    assert "default-src 'none'" in unescape(first)


def test_ten_thousand_rows_take_less_than_five_megabytes():
    text = page(list(many(10_000)))
    assert len(text.encode()) < 5_000_000
    assert len(json.loads(data(list(many(100))))["columns"]["method"]["at"]) == 100


def test_an_empty_database_gives_a_page_that_says_what_to_do(tmp_path):
    Store.open(tmp_path / "harness.db").ingest(write_train(tmp_path / "jobs", "a"))
    said = harness("report", "--page", "--workspace", tmp_path)
    text = (tmp_path / "reports" / "page.html").read_text()
    assert "page.html" in said
    assert "1 trainings have finished, and no evaluation" in text
    assert "harness status" in text


def test_every_column_is_explained():
    assert all(column.meaning for column in COLUMNS)
    text = page([])
    assert all(f"<dt>{column.heading}</dt>" in text for column in COLUMNS)


def test_the_page_takes_what_was_chosen_and_no_torch(files):
    said = harness("report", "--page", "--methods", "trades=Ours", "--caption", "Our board", "-w", files.root)
    text = files.page.read_text()
    assert "<title>Our board</title>" in text
    assert '"Ours"' in text
    packed = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert [unpacked(packed, "method", row) for row in range(packed["rows"]) if unpacked(packed, "measured", row)] == [
        "Ours"
    ]
    assert str(files.page) in said.replace("\n", "")
    code = "import sys, reports.page.board, reports.page.html, harness.cli.serve; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
