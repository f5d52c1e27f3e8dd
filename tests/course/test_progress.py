"""The reader's progress: kept whole, shared by kernels, shown and exported."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import netlab
from netlab.course import records
from netlab.course.catalogue import Chapter
from netlab.course.map import CourseMap, standings
from netlab.course.store import Store, folder
from netlab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(netlab.__file__).parents[1]
KEY = "02-detour"


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    """Return the progress of a user who has none yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return Store.default()


def call(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as its own program."""
    argv = [sys.executable, "-m", "netlab", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def test_it_lies_where_the_standard_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_DATA_HOME is followed; without it, or with a relative one, it is ~/.local/share."""
    assert folder() == tmp_path / "netlab"
    monkeypatch.setenv("HOME", "/home/reader")
    for value in ("", "somewhere/else"):
        monkeypatch.setenv("XDG_DATA_HOME", value)
        assert folder() == Path("/home/reader/.local/share/netlab")


def test_nothing_is_written_by_reading(store: Store) -> None:
    """Who only looks leaves no file."""
    assert store.read()["exercises"] == {}
    assert not store.path.exists()


def test_what_was_done_is_kept(store: Store) -> None:
    """Checks, hints, an opened solution, a pass and a prediction are there when it is read again."""
    records.begin(KEY)
    records.note_check(KEY, passed=False)
    records.note_help(KEY)
    records.note_help(KEY, solution=True)
    records.note_check(KEY, passed=True)
    records.note_prediction("02-which-route", question="Which?", answer="A")
    records.note_prediction("02-which-route", truth="B")
    kept = store.read()
    exercise = kept["exercises"][KEY]
    assert (exercise["checks"], exercise["hints"], exercise["solution"]) == (2, 1, True)
    assert exercise["passed"]
    assert records.prediction("02-which-route")["answer"] == "A"
    assert records.prediction("02-which-route")["truth"] == "B"


def test_the_seed_stays_until_it_was_passed() -> None:
    """Starting over gives the same names and addresses; after a pass it gives others."""
    first = records.begin(KEY)
    assert records.begin(KEY) == first
    records.note_check(KEY, passed=True)
    second = records.begin(KEY)
    assert second != first
    assert records.begin(KEY) == second


def test_minutes_count_work_and_not_pauses(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    """Two minutes between two checks count, a night does not, a clock that was set back does not either."""
    now = 1_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    records.note_check(KEY, passed=False)
    for step, total in ((120, 120), (30_000, 120), (-500, 120), (60, 180)):
        now += step
        records.note_check(KEY, passed=False)
        assert store.read()["chapters"]["02"]["seconds"] == total


def test_a_damaged_file_is_put_aside(store: Store) -> None:
    """What cannot be read is kept beside, and the reader can go on."""
    store.path.parent.mkdir(parents=True)
    for damage in ('{"version": 1, "chap', "[]", '{"version": 1}'):
        store.path.write_text(damage, encoding="utf-8")
        records.begin(KEY)
        assert KEY in store.read()["exercises"]
    kept = {path.read_text(encoding="utf-8") for path in store.path.parent.glob("progress-damaged-*.json")}
    assert kept == {'{"version": 1, "chap', "[]", '{"version": 1}'}


def test_a_newer_file_is_left_alone(store: Store) -> None:
    """The progress of a later netlab is neither changed nor put aside."""
    store.path.parent.mkdir(parents=True)
    text = '{"version": 99, "chapters": {}, "predictions": {}, "exercises": {}}'
    store.path.write_text(text, encoding="utf-8")
    with pytest.raises(LabError, match="version 99"):
        store.change(dict.clear)
    assert store.path.read_text(encoding="utf-8") == text


def test_a_failing_change_changes_nothing(store: Store) -> None:
    """An error in the middle leaves the old file, and no other file."""
    records.begin(KEY)
    before = store.path.read_text(encoding="utf-8")

    def fail(record: dict[str, object]) -> None:
        record["exercises"] = object()  # cannot be written as JSON

    with pytest.raises(TypeError):
        store.change(fail)
    assert store.path.read_text(encoding="utf-8") == before
    assert {path.name for path in store.path.parent.iterdir()} == {"progress.json", "progress.lock"}


def test_where_it_cannot_be_written_a_chapter_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A full or closed disk is a warning to the reader, not the end of an exercise."""
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_DATA_HOME", str(blocked))
    with pytest.warns(UserWarning, match="cannot be written"):
        assert records.begin(KEY)


WRITER = f"""
import sys
from netlab.course import records
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[1])):
    records.note_check({KEY!r}, passed=False)
"""


def start_writer(times: int) -> subprocess.Popen[str]:
    """Start a program that notes checks once it is told to."""
    argv = [sys.executable, "-c", WRITER, str(times)]
    writer = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer


def test_several_kernels_at_once_lose_nothing(store: Store) -> None:
    """Three programs note 40 checks each at the same time, and all 120 are there."""
    writers = [start_writer(40) for _ in range(3)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=30)
        assert writer.returncode == 0
    assert store.read()["exercises"][KEY]["checks"] == 120


def test_a_killed_kernel_leaves_a_whole_file(store: Store) -> None:
    """Ended in the middle of its writing, it leaves what was there before or after, and nobody locked out."""
    for _ in range(3):
        writer = start_writer(100_000)
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
        before = _checks(store)
        _wait(lambda before=before: _checks(store) > before + 5)  # type: ignore[misc]
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        killed = _checks(store)
        records.note_check(KEY, passed=False)
        assert _checks(store) == killed + 1
    assert {path.name for path in store.path.parent.iterdir()} == {"progress.json", "progress.lock"}


def _checks(store: Store) -> int:
    return int(store.read()["exercises"].get(KEY, {"checks": 0})["checks"])


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not until():
        assert time.monotonic() < deadline


# -- the map and the command line -------------------------------------------------------------------

CHAPTER = Chapter(Path("02-router.ipynb"), "02 · Router", 40, ("02-which-route",), (KEY,), ("02-broken",))


def test_the_map_counts_what_is_done(store: Store) -> None:
    """A chapter is not yet begun, then begun, then done; text and table say so in words."""
    assert standings(store.read(), [CHAPTER])[0].state == "not yet"
    records.begin(KEY)
    records.note_check(KEY, passed=True)
    records.note_help("02-broken")
    records.note_prediction("02-which-route", answer="<A>")
    (standing,) = standings(store.read(), [CHAPTER])
    assert (standing.state, standing.predictions, standing.exercises, standing.faults) == ("begun", 1, 1, 0)
    assert standing.hints == 1
    records.note_check("02-broken", passed=True)
    shown = CourseMap(tuple(standings(store.read(), [CHAPTER])))
    assert "● 02 · Router" in repr(shown)
    page = shown._repr_html_()
    assert '<th scope="row"><a href="02-router.ipynb">02 · Router</a></th>' in page
    assert "<td>1 of 1</td>" in page
    assert "<td>done</td>" in page


def test_progress_is_exported(tmp_path: Path) -> None:
    """`netlab progress` prints what is kept: for people, as JSON and as CSV."""
    records.begin(KEY)
    records.note_check(KEY, passed=True)
    records.note_prediction("02-which-route", answer='a "quoted", answer', truth="B")
    assert json.loads(call("progress", "--json").stdout)["exercises"][KEY]["checks"] == 1
    rows = list(csv.DictReader(io.StringIO(call("progress", "--csv").stdout)))
    assert [row["kind"] for row in rows] == ["chapter", "prediction", "exercise"]
    assert rows[1]["answer"] == 'a "quoted", answer'
    assert rows[2]["key"] == KEY
    text = call("progress").stdout
    assert "02 · Linux as a router" in text
    assert str(tmp_path) in text
    assert "Choose one" in call("progress", "--json", "--csv").stderr


def test_course_list_and_reset() -> None:
    """`netlab course` lists the chapters, and forgets only what it is told to."""
    for key in (KEY, "02-broken", "03-publish"):
        records.begin(key)
    listed = json.loads(call("course", "list", "--json").stdout)
    assert [one["number"] for one in listed][:4] == ["00", "01", "02", "03"]
    assert "1 entry was forgotten" in call("course", "reset", KEY, "--yes").stdout
    assert set(Store.default().read()["exercises"]) == {"02-broken", "03-publish"}
    assert call("course", "reset", "2", "--yes").returncode == 0
    assert set(Store.default().read()["exercises"]) == {"03-publish"}
    assert "not 'everything'" in call("course", "reset", "everything", "--yes").stderr
    assert call("course", "reset", "all", "--yes").returncode == 0
    assert Store.default().read()["exercises"] == {}


def test_course_open_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a server, or for a chapter that is not there, it says so and what to do."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    assert "./containers/up" in call("course", "open", "02", "--print").stderr
    assert "There is no chapter '77'" in call("course", "open", "77", "--print").stderr


def test_course_open_finds_the_running_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It prints the link of the chapter in the server that shows it, with that server's token."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    server = {"url": "http://127.0.0.1:9/", "token": "t0", "root_dir": str(ROOT / "labs"), "pid": os.getpid()}
    (tmp_path / f"jpserver-{os.getpid()}.json").write_text(json.dumps(server), encoding="utf-8")
    shown = call("course", "open", "2", "--print").stdout
    assert shown == "http://127.0.0.1:9/lab/tree/02-linux-as-a-router.ipynb?token=t0\n"
