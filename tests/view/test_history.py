from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from netlab import Lab
from netlab.kernel.values import Counters, HostState, Interface, Snapshot
from netlab.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab.view.history import History


def snapshot(*, mtu: int = 1500, packets: int = 0) -> Snapshot:
    """Return a lab with one host and one interface."""
    eth0 = Interface(2, "eth0", "veth", up=True, carrier=True, state="UP", mtu=mtu, counters=Counters(packets))
    return Snapshot("lab", 1.0, (HostState("red", 1, (eth0,)),))


def test_a_moment_is_kept_when_more_than_counters_differ() -> None:
    """Packets pass all the time; a change is something else."""
    timeline = Timeline()
    kept = [timeline.record(each) for each in (snapshot(), snapshot(packets=5), snapshot(mtu=1400), snapshot(mtu=1400))]
    assert kept == [True, False, True, False]
    first, second = timeline.moments
    assert first.difference is None
    assert "1400" in str(second.difference)


def test_only_the_last_moments_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab that runs for days does not fill the memory."""
    monkeypatch.setattr("netlab.timeline.LIMIT", 3)
    timeline = Timeline()
    for mtu in range(1000, 1010):
        timeline.record(snapshot(mtu=mtu))
    assert [moment.snapshot["red"].interface("eth0").mtu for moment in timeline.moments] == [1007, 1008, 1009]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Give a lab with one host."""
    with Lab("past") as lab:
        lab.add_host("red")
        yield lab


def after(lab: Lab, history: History, words: str) -> int:
    """Wait for a moment that tells of something; return its number."""
    found = threading.Event()

    def look(_: Snapshot) -> None:
        if words in str(history):
            found.set()

    subscription = lab.watcher.subscribe(look)
    assert found.wait(5), str(history)
    subscription.close()
    told = [str(moment.difference or "") for moment in history.moments]
    return next(number for number, lines in enumerate(told) if words in lines)


@pytest.mark.kernel
def test_the_slider_goes_back_in_time(lab: Lab) -> None:
    """A moment shows the picture of that time, and says what changed in it."""
    history = lab.history()
    lab.host("red").run("ip", "link", "set", "lo", "up", check=True)
    number = after(lab, history, "lo")
    latest = history.svg
    history.index = 0
    assert history.svg != latest
    assert history.at(0)["red"].interface("lo").up is False
    assert history.at(number)["red"].interface("lo").up is True
    history.close()


@pytest.mark.kernel
def test_what_a_diagram_saw_is_in_the_history(lab: Lab) -> None:
    """The history begins when the lab was first watched, not when it is asked for."""
    with_diagram = lab.diagram()
    lab.add_host("blue")
    first = lab.history()
    after(lab, first, "blue")
    second = lab.history()
    assert len(second.moments) >= 2
    for widget in (with_diagram, first, second):
        widget.close()


@pytest.mark.kernel
def test_a_closed_lab_can_still_be_looked_back_at(lab: Lab) -> None:
    """Pictures are drawn from snapshots, not from the kernel."""
    history = lab.history()
    lab.close()
    history.index = 0
    assert "red" in history.svg
    history.close()
