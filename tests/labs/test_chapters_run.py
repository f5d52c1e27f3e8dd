"""Chapters in a real kernel, as a reader runs them: untouched, with the solutions, and with usual mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import claims
import pytest
from chapters import CHAPTERS, LABS, ROOT, SECONDS, code_blocks, exercises, read, run

pytestmark = [pytest.mark.kernel, pytest.mark.notebook]

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)


def cable(left: str = "192.168.7.1/24", right: str = "192.168.7.2/24", *, right_up: str = "up") -> str:
    """Return the commands of chapter 01's first exercise, with a mistake in them if one is given."""
    return f"""\
ip link add eth0 type veth peer name eth0 netns right
ip address add {left} dev eth0
ip link set eth0 up
ip -netns right address add {right} dev eth0
ip -netns right link set eth0 {right_up}
"""


OTHER_CABLE = """\
ip -netns right link add cable0 type veth peer name cable0 netns left
ip -netns right address add 192.168.7.2/30 dev cable0
ip -netns right link set cable0 up
ip address add 192.168.7.1 peer 192.168.7.2 dev cable0
ip link set cable0 up
"""
# For each mistake: the chapter, the exercise, the commands, and what the check says about them.
MISTAKES = [
    ("00-welcome", "your-turn", "ip address add 127.0.0.1/8 dev lo", "lo is DOWN"),
    ("00-welcome", "your-turn", "ip link add lo0 type veth peer name lo1; ip link set lo0 up", "lo is DOWN"),
    ("00-welcome", "your-turn", "ip link set lo up; iptables -P INPUT DROP", "lo is UP"),
    ("01-one-packet", "your-turn", cable(right_up="down"), "The way back: RTNETLINK answers: Network is unreachable"),
    # An address without a prefix is a /32: there is no route to the other one.
    ("01-one-packet", "your-turn", cable(left="192.168.7.1"), "there: RTNETLINK answers: Network is unreachable"),
    # The two addresses are the wrong way round: left asks itself.
    (
        "01-one-packet",
        "your-turn",
        cable("192.168.7.2/24", "192.168.7.1/24"),
        "The way there: local 192.168.7.2 dev lo",
    ),
    ("01-one-packet", "your-turn", cable(left="192.168.7.9/24"), '"client_address": "192.168.7.9"'),
    # The one who complains is not the one who is ill.
    ("01-one-packet", "your-fix", "ip -netns red route add 10.0.0.2/32 dev eth0", "Network is unreachable"),
    ("01-one-packet", "your-fix", "ip address add 10.0.0.3/32 dev eth0", "Network is unreachable"),
]
# Other ways that work are right as well.
ALTERNATIVES = [
    ("00-welcome", "your-turn", "ip -netns red link set dev lo up"),
    ("01-one-packet", "your-turn", OTHER_CABLE),
    ("01-one-packet", "your-fix", "ip route add 10.0.0.0/24 dev eth0"),
    ("01-one-packet", "your-fix", "ip address add 10.0.0.2/24 dev eth0"),
]


def check_of(chapter: Path, exercise: str) -> str:
    """Return the id of the check that belongs to an exercise."""
    return next(str(check.id) for work, check, _ in exercises(read(chapter)) if work.id == exercise)


def passed(text: str) -> bool:
    """Tell whether a check was content."""
    assert text.startswith(("Done", "Mended", "Not yet")), text
    return not text.startswith("Not yet")


@each_chapter
def test_runs_untouched(chapter: Path, tmp_path: Path) -> None:
    """All cells run from a clean kernel without an error, in time, and the exercises are not done yet."""
    begin = time.monotonic()
    done = run(chapter, tmp_path)
    assert time.monotonic() - begin < SECONDS
    for _, check, _ in exercises(done.notebook):
        assert not passed(done.text(check.id))
    claims.check(chapter.stem, done)


@each_chapter
def test_solutions_pass(chapter: Path, tmp_path: Path) -> None:
    """With the solutions in, each check is content; afterwards nothing of the lab is left."""
    begin = time.monotonic()
    done = run(chapter, tmp_path, {work.id: commands for work, _, commands in exercises(read(chapter))})
    assert time.monotonic() - begin < SECONDS
    for _, check, _ in exercises(done.notebook):
        assert passed(done.text(check.id))
    assert done.kernel
    assert f"netlab/{done.kernel}/" not in Path("/proc/net/unix").read_text(encoding="utf-8")
    assert not Path(f"/proc/{done.kernel}").exists()
    assert not list(tmp_path.iterdir()), "a chapter leaves no file behind"


@pytest.mark.parametrize(("stem", "exercise", "commands", "words"), MISTAKES)
def test_mistakes_are_told(stem: str, exercise: str, commands: str, words: str, tmp_path: Path) -> None:
    """A usual mistake does not pass, and the check says what gives it away."""
    chapter = LABS / f"{stem}.ipynb"
    check = check_of(chapter, exercise)
    text = run(chapter, tmp_path, {exercise: commands}, until=check).text(check)
    assert not passed(text)
    assert words in text


@pytest.mark.parametrize(("stem", "exercise", "commands"), ALTERNATIVES)
def test_other_ways_pass(stem: str, exercise: str, commands: str, tmp_path: Path) -> None:
    """A check looks at the effect: what works is right, however it was done."""
    chapter = LABS / f"{stem}.ipynb"
    check = check_of(chapter, exercise)
    assert passed(run(chapter, tmp_path, {exercise: commands}, until=check).text(check))


def test_numbers_of_chapter_01(tmp_path: Path) -> None:
    """What the prose of chapter 01 says about its packets is so."""
    done = run(LABS / "01-one-packet.ipynb", tmp_path)
    assert "5 packets passed before" in done.text("decide")
    assert done.text("warm").strip() == "3"
    assert done.text("who-asked") == "{'10.0.0.1'}"
    assert "flags: S SA A" in done.text("handshake-cell")
    assert "bytes of data: [0, 0, 0]" in done.text("handshake-cell")
    assert done.text("handshake-cell").count("plus 1\n") == 2
    *headers, together = (int(line.split()[1]) for line in done.text("peel").splitlines())
    assert len(headers) == 4
    assert sum(headers) == together
    assert done.text("refused").rstrip().endswith("RA")
    assert done.text("nobody").count("who has 10.0.0.9") == 3
    assert "host-unreachable" in done.text("nobody").splitlines()[-1]
    assert "no packet passed" in done.text("unreachable")
    sent, received = (line.split(maxsplit=2)[2] for line in done.text("counters-cell").splitlines())
    assert sent == received
    assert "timed out" in done.text("symptom")


def test_the_readme_example_runs(tmp_path: Path) -> None:
    """The ten lines of the README print an answer and its packets."""
    (example,) = (block for block in code_blocks((ROOT / "README.md").read_text(encoding="utf-8")) if "Lab(" in block)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    shown = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert '"server": "blue"' in shown
    assert "ARP who has 10.0.0.2" in shown
