"""The leaderboard in a real browser: sorted, filtered, opened, followed, by hand and by keyboard."""

import json
import os
import shutil
import threading
from http.server import ThreadingHTTPServer

import numpy as np
import pytest
from page_example import ACCURACIES, COMMAND, HOSTILE, board_of, many, measured_workspace
from results_jobs import write_evaluate, write_train

from harness.cli.serve import Site, handler
from harness.datasets import load
from reports.choice import Choice
from reports.page.entries import published
from reports.page.html import COLUMNS, page
from reports.published import Claim
from results.store import Store

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install '.[page]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = started.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Opens an address in a window of its own; whatever a console or a dialog says is an error."""
    said, contexts = [], []

    def go(address, **options):
        contexts.append(browser.new_context(**options))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.set_default_timeout(5000)
        tab.goto(address)
        return tab

    yield go
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return measured_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def address(files, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "page.html"
    file.write_text(page(board_of(files).entries), encoding="utf-8")
    return file.as_uri()


def column(tab, key):
    """The cells of the measured rows under a heading."""
    at = [each.key for each in COLUMNS].index(key)
    return (
        tab.locator("tbody")
        .first.locator("tr.row")
        .evaluate_all("(rows, at) => rows.map((row) => row.children[at].innerText.trim())", at)
    )


def names(tab):
    return tab.locator("tr.row .open").all_inner_texts()


def choice(tab, name):
    return tab.locator(f"select[data-filter='{name}']")


def sort(tab, key):
    tab.locator(f"th[data-key='{key}'] button").click()
    return tab.locator(f"th[data-key='{key}']").get_attribute("aria-sort")


def test_the_highest_worst_case_is_first_and_what_was_published_stands_apart(opened, address):
    tab = opened(address)
    assert column(tab, "method") == ["pgd-at", "trades", "mart", HOSTILE]
    assert tab.locator("th[data-key='worst-case']").get_attribute("aria-sort") == "descending"
    kinds = tab.locator("tbody .kind").all_inner_texts()
    assert kinds == ["Measured here", "Published by others, not measured here"]
    assert tab.locator("tbody").last.locator(".worst").count() == 0


def test_whatever_is_sorted_by_the_published_rows_come_after_all_measured_ones(opened, tmp_path):
    """The first of several pages has measured rows alone, though a published accuracy is the highest."""
    file = tmp_path / "page.html"
    claim = Claim("trades", "digits", "small-cnn", "Linf 0.2", "natural", 0.999, "a thesis", "")
    file.write_text(page([*published([claim]), *many(100)]), encoding="utf-8")
    tab = opened(file.as_uri())
    assert sort(tab, "natural") == "descending"
    assert tab.locator("tbody .kind").all_inner_texts() == ["Measured here"]


@pytest.mark.parametrize(("key", "place"), [("natural", 0), ("autoattack", 1)])
def test_numbers_are_sorted_both_ways_and_empty_cells_come_last(opened, address, key, place):
    tab = opened(address)
    known = [method for method in ACCURACIES if (method, key) != ("pgd-at", "autoattack")]
    empty = [method for method in ACCURACIES if method not in known]
    ascending = sorted(known, key=lambda method: ACCURACIES[method][place])
    assert sort(tab, key) == "descending"
    assert column(tab, "method") == ascending[::-1] + empty
    assert sort(tab, key) == "ascending"
    assert column(tab, "method") == ascending + empty


@pytest.mark.parametrize("key", [each.key for each in COLUMNS])
def test_every_column_sorts(opened, address, key):
    """The other direction is the reverse, but for the ties and the empty."""
    tab = opened(address)
    first, found = sort(tab, key), column(tab, key)
    second, reverse = sort(tab, key), column(tab, key)
    assert {first, second} == {"ascending", "descending"}
    filled = [[value for value in each if not value.startswith("not")] for each in (found, reverse)]
    assert sorted(filled[0]) == sorted(filled[1])
    assert filled[0] == filled[1][::-1]


def test_filters_and_search_leave_the_rows_that_match_and_say_how_many(opened, address):
    tab = opened(address)
    choice(tab, "verdict").select_option("masked")
    assert names(tab) == ["mart"]
    assert tab.locator("#count").inner_text().startswith("1 measured and 0 published rows of ")
    assert tab.locator("#count").get_attribute("role") == "status"
    tab.get_by_role("button", name="Show all").click()
    choice(tab, "measured").select_option("published")
    assert tab.locator("tbody").count() == 1
    choice(tab, "model").select_option("wrn-34-10")
    assert set(names(tab)) == {"pgd-at", "trades", "trades-ancra"}
    tab.get_by_role("button", name="Show all").click()
    tab.get_by_label("Search").fill("digits TRADES")
    assert names(tab) == ["trades"]
    tab.get_by_label("Search").fill("nothing is called so")
    assert names(tab) == []


def test_a_row_opens_and_closes_with_the_keyboard(opened, address):
    tab = opened(address)
    button = tab.get_by_role("button", name="mart", exact=True).first
    button.focus()
    assert button.evaluate("(node) => getComputedStyle(node).outlineStyle") == "solid"
    tab.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    details = tab.locator(f"#{button.get_attribute('aria-controls')}")
    text = details.inner_text()
    for expected in (
        "Why it is masked",
        f"no gradient {HOSTILE} (seen)",
        "code-0: look",
        COMMAND,
        "beta = 6.0",
        "60.00",
    ):
        assert expected in text
    assert "50.20 to 69.06" in text  # Wilson's interval of 60 in 100
    tab.keyboard.press("Space")
    assert button.get_attribute("aria-expanded") == "false"
    assert details.count() == 0


def test_a_row_shows_the_seeds_together_and_the_paper(opened, address):
    tab = opened(address)
    tab.get_by_role("button", name="trades", exact=True).first.click()
    details = tab.locator("tr.details")
    assert "±1.41" in tab.locator("tr.row", has_text="trades").first.inner_text()
    assert "seeds 0, 1" in details.inner_text()
    assert "title = {A & B}" in details.inner_text()
    assert details.get_by_role("link", name="A <b>paper</b>").get_attribute("href") == "https://example.org/a"


def test_an_empty_cell_says_why(opened, address):
    tab = opened(address)
    row = tab.locator("tr.row", has=tab.get_by_role("button", name="pgd-at", exact=True)).first.inner_text()
    assert "not run" in row
    assert "not diagnosed" in row
    choice(tab, "measured").select_option("published")
    assert "not given" in tab.locator("tr.row").first.inner_text()


def test_hostile_names_stay_text(opened, address):
    tab = opened(address)
    tab.get_by_role("button", name=HOSTILE).click()
    assert tab.locator("tr.row", has_text=HOSTILE).count() == 1
    assert tab.locator("script").count() == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_a_row_without_scrolling_sideways(opened, address, scheme):
    tab = opened(address, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    choice(tab, "measured").select_option("measured")
    for _ in ("closed", "open"):
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        tab.get_by_role("button", name="mart", exact=True).first.click()
    light = tab.evaluate("getComputedStyle(document.body).backgroundColor").startswith("rgb(253")
    assert light == (scheme == "light")
    tab.locator("#sorted").select_option("natural")
    assert tab.locator("th[data-key='natural']").get_attribute("aria-sort") == "descending"


# The quickest of some tries, layout included: on a busy machine few get a core to themselves, and one is enough.
TIMED = """(act) => {
    const tries = [];
    while (tries.length < 40 && !(Math.min(...tries) < 100)) {
        const start = performance.now();
        act();
        document.body.offsetHeight;
        tries.push(performance.now() - start);
    }
    return Math.min(...tries);
}"""
SET = "(() => {{ const at = {at}; at.value = '{value}'; at.dispatchEvent(new Event('input', {{bubbles: true}})); }})"
VERDICT, SEARCH = "document.querySelector('[data-filter=verdict]')", "document.getElementById('search')"


@pytest.mark.slow
def test_ten_thousand_rows_are_sorted_and_filtered_in_less_than_100_milliseconds(opened, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page(list(many(10_000))), encoding="utf-8")
    tab = opened(file.as_uri())
    acts = {
        "sort": "(() => document.querySelector('th[data-key=natural] button').click())",
        "filter": SET.format(at=VERDICT, value="1"),
        "show all": SET.format(at=VERDICT, value=""),
        "search": SET.format(at=SEARCH, value="trades 99"),
    }
    found = {name: tab.evaluate(f"({TIMED})({act})") for name, act in acts.items()}
    assert max(found.values()) < 100, found
    tab.get_by_label("Search").fill("")
    tab.get_by_role("button", name="Next").click()
    assert "51 to 100 are shown" in tab.locator("#count").inner_text()


@pytest.fixture
def served(tmp_path):
    """A workspace of its own, and where it is served."""
    files = measured_workspace(tmp_path)
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), handler(Site(Store.open(files.database), files, Choice(), tmp_path / "data"))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield files, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_served_page_follows_the_run_and_keeps_what_was_chosen(opened, served):
    files, address = served
    tab = opened(address)
    playwright.expect(tab.locator("#run")).to_contain_text("jobs done")
    choice(tab, "checkpoint").select_option("best")
    write_train(files.jobs, "new", "natural")
    write_evaluate(files.jobs, "new", [1] * 100, attack="fgsm", train="new", spec=spec_of(files, "train-new"))
    Store.open(files.database).ingest_all(files.jobs)
    playwright.expect(tab.get_by_role("button", name="natural", exact=True)).to_have_count(1, timeout=10_000)
    assert choice(tab, "checkpoint").evaluate("(node) => node.selectedOptions[0].text") == "best"


def spec_of(files, job):
    return json.loads(files.job(job).spec.read_text())


def test_a_row_leads_to_the_examples_that_were_broken(opened, served):
    """Three of digits: each has the image, the image under attack and the change."""
    files, address = served
    data = load("digits", files.root / "data")
    attacked(files, data.fingerprint)
    for job in files.jobs.glob("evaluate-mart-0-a*"):
        images = (data.test.images[[3, 5, 8]] / np.float32(255)).clip(0.1, 0.9)
        np.savez(job / "adversarial.npz", positions=np.array([3, 5, 8]), images=images.astype(np.float32))
    tab = opened(address)
    tab.get_by_role("button", name="mart", exact=True).click()
    tab.get_by_role("link", name="what broke seed 0").click()
    assert tab.locator("article").count() == 3
    assert "Test example 3" in tab.locator("h2").first.inner_text()
    assert "Broken by autoattack, adaptive" in tab.locator("article").first.inner_text()
    sizes = tab.locator("img").evaluate_all("(images) => images.map((image) => image.naturalWidth)")
    assert sizes == [128] * 9


def attacked(files, fingerprint):
    """Have the results say that they are of these images: the database is made again."""
    for spec in files.jobs.glob("*/spec.json"):
        spec.write_text(spec.read_text().replace('"ab12"', json.dumps(fingerprint)))
    files.database.unlink()
    Store.open(files.database).ingest_all(files.jobs)


def test_examples_that_were_not_kept_are_explained(browser, served):
    _, address = served
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(f"{address}examples?train=train-mart-0&checkpoint=best&threat=Linf+0.2")
    assert "is missing: the job was done before adversarial images were kept" in tab.inner_text("body")
    context.close()
