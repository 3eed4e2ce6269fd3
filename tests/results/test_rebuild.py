"""The database is a shadow of the job directories: rebuilt from them, merged by copying them."""

import shutil
import sqlite3

import pytest
from pandas.testing import assert_frame_equal
from results_jobs import assert_same, jobs, train_spec, write_evaluate, write_train, write_workspace

from results.errors import HarnessError
from results.lookups import missing_trainings
from results.queries import long_form
from results.rebuild import rebuild
from results.store import Store


def test_a_rebuilt_database_equals_the_original(tmp_path):
    """Whatever the order in which jobs were stored; the old file is kept beside the new one."""
    root = write_workspace(tmp_path / "jobs")
    original = Store.open(tmp_path / "a.db")
    for directory in sorted(root.iterdir(), reverse=True):
        original.ingest(directory)
    counts, kept = rebuild(tmp_path / "b.db", root)
    assert (counts.done, kept) == (12, None)
    assert_same(original, Store.open(tmp_path / "b.db"))
    counts, kept = rebuild(tmp_path / "a.db", root)
    assert (counts.done, kept) == (12, tmp_path / "a.db.bak")
    assert_same(Store.open(kept), Store.open(tmp_path / "a.db"))


def test_a_store_open_elsewhere_sees_the_rebuilt_database(tmp_path):
    """The file is filled anew, not swapped away under those who have it open."""
    root = write_workspace(tmp_path / "jobs")
    bystander = Store.open(tmp_path / "a.db")
    with bystander.reading() as session:
        session.connection()
        rebuild(tmp_path / "a.db", root)
    assert len(jobs(bystander)) == 12


def test_rebuilding_loses_no_row_and_no_earlier_backup(tmp_path):
    """Jobs whose directories are gone live on in the kept database, however often one rebuilds."""
    path, root = tmp_path / "a.db", tmp_path / "jobs"
    Store.open(path).ingest_all(write_workspace(root))
    shutil.rmtree(root / "train-0-0")
    kept = [rebuild(path, root)[1] for _ in range(3)]
    assert [file.name for file in kept] == ["a.db.bak", "a.db.bak1", "a.db.bak2"]
    assert "train-0-0" in set(jobs(Store.open(kept[0])).id)
    assert "train-0-0" not in set(jobs(Store.open(path)).id)
    assert missing_trainings(Store.open(path)) == {"train-0-0": 3}
    assert missing_trainings(Store.open(kept[0])) == {}


def test_a_ruined_database_is_moved_aside_byte_for_byte_and_replaced(tmp_path):
    """Rebuilding is the cure for a damaged file, journals included."""
    path, root = tmp_path / "a.db", write_workspace(tmp_path / "jobs")
    path.write_bytes(b"garbage" * 1000)
    (tmp_path / "a.db-wal").write_bytes(b"old journal")
    counts, kept = rebuild(path, root)
    assert kept.read_bytes() == b"garbage" * 1000
    assert (tmp_path / "a.db.bak-wal").read_bytes() == b"old journal"
    assert len(jobs(Store.open(path))) == counts.done == 12


def test_a_rebuild_that_cannot_start_leaves_the_database_alone(tmp_path):
    """A wrong folder costs nothing: no backup, no scratch files, the same rows."""
    path = tmp_path / "a.db"
    Store.open(path).ingest(write_train(tmp_path / "jobs", "a"))
    with pytest.raises(HarnessError, match="elsewhere is not a directory of jobs"):
        rebuild(path, tmp_path / "elsewhere")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.db", "jobs"]
    assert list(jobs(Store.open(path)).id) == ["train-a"]


def test_a_rebuild_in_place_of_a_folder_is_an_error(tmp_path):
    """The folder stays, and the message names it."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(HarnessError, match=r"database .*folder cannot be copied to"):
        rebuild(tmp_path / "folder", write_workspace(tmp_path / "jobs", trainings=1))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "jobs"]


def test_a_rebuilt_database_is_in_wal_mode(tmp_path):
    """Made new or made anew."""
    root = write_workspace(tmp_path / "jobs", trainings=1)
    for _ in range(2):
        rebuild(tmp_path / "a.db", root)
        connection = sqlite3.connect(tmp_path / "a.db")
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()


def test_two_workspaces_merge_to_their_union(tmp_path):
    """Copying job directories together merges the work of two machines, shared jobs counted once."""
    one, two = (write_workspace(tmp_path / name, seed) for name, seed in (("one", 1), ("two", 2)))
    shared = write_evaluate(one, "shared", [True, False, True], train="1-0", spec=train_spec(seed=1))
    shutil.copytree(shared, two / shared.name)
    shutil.copytree(one, tmp_path / "both")
    shutil.copytree(two, tmp_path / "both", dirs_exist_ok=True)
    stores = [Store.open(tmp_path / f"{name}.db") for name in ("one", "two", "both")]
    for store, root in zip(stores, (one, two, tmp_path / "both"), strict=True):
        store.ingest_all(root)
    ids = [set(jobs(store).id) for store in stores]
    assert ids[2] == ids[0] | ids[1]
    assert ids[0] & ids[1] == {"evaluate-shared"}
    for store in stores[:2]:
        rows = long_form(store)
        rows = rows[rows.evaluate_id.notna()].set_index("evaluate_id")
        both = long_form(stores[2]).set_index("evaluate_id").loc[rows.index]
        assert_frame_equal(both, rows)
    stores[0].ingest_all(two)
    assert_same(stores[0], stores[2])
