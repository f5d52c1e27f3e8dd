from __future__ import annotations

import gc
import json
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
import view_samples as samples

from netlab.errors import InvalidInputError
from netlab.kernel.values import Counters
from netlab.view.details import details
from netlab.view.diagram import Diagram

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from netlab.kernel.values import Snapshot


class FakeWatcher:
    """Tells its subscribers what a test tells it, from another thread, as the real one does."""

    def __init__(self, first: Snapshot) -> None:
        self.last = first
        self.callbacks: list[Callable[[Snapshot], object]] = []

    def subscribe(self, callback: Callable[[Snapshot], object]) -> FakeSubscription:
        """Call back at once, and then with what `tell` is given."""
        self.callbacks.append(callback)
        callback(self.last)
        return FakeSubscription(self, callback)

    def tell(self, snapshot: Snapshot) -> None:
        """Tell everybody of a new snapshot."""
        self.last = snapshot
        thread = threading.Thread(target=lambda: [callback(snapshot) for callback in list(self.callbacks)])
        thread.start()
        thread.join()


class FakeSubscription:
    """Ends what it stands for."""

    def __init__(self, watcher: FakeWatcher, callback: Callable[[Snapshot], object]) -> None:
        self.watcher, self.callback = watcher, callback

    def close(self) -> None:
        """Call back no more; may be called twice."""
        if self.callback in self.watcher.callbacks:
            self.watcher.callbacks.remove(self.callback)


class FakeLab:
    """A lab without a kernel."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.name = snapshot.lab
        self.watcher = FakeWatcher(snapshot)
        self.closed = False
        self.farewells: list[Callable[[], object]] = []

    def snapshot(self) -> Snapshot:
        """Return the last one."""
        return self.watcher.last

    def on_close(self, farewell: Callable[[], object]) -> None:
        """Remember what to call at the end."""
        self.farewells.append(farewell)

    def close(self) -> None:
        """End, and say so."""
        self.closed = True
        self.watcher.callbacks.clear()
        for farewell in self.farewells:
            farewell()


@pytest.fixture
def lab() -> FakeLab:
    """Return a lab of two hosts."""
    return FakeLab(samples.two_hosts())


def test_it_shows_the_present_state_at_once(lab: FakeLab) -> None:
    """Picture and details are there when the diagram is."""
    diagram = Diagram(lab)
    assert 'data-nl-id="if:red/eth0"' in diagram.svg
    assert diagram.details["if:red/eth0"]["title"] == "eth0"
    assert diagram.marks == {}
    assert repr(diagram) == "<Diagram of lab two-hosts>"


def test_a_change_of_state_is_a_patch(lab: FakeLab) -> None:
    """The picture stays, the patch says what differs from it, and the change is marked and told."""
    diagram = Diagram(lab)
    before = diagram.svg
    lab.watcher.tell(samples.two_hosts(up=(True, False)))
    assert diagram.svg == before
    assert "NO CARRIER" in diagram.patch["fragments"]["if:red/eth0"]
    assert {mark["id"] for mark in diagram.marks["items"]} >= {"if:red/eth0", "if:blue/eth0"}
    assert any("went down" in line for line in diagram.news["lines"])
    lab.watcher.tell(samples.two_hosts())
    assert diagram.patch == {"fragments": {}, "labels": {}}


def test_counters_alone_draw_nothing(lab: FakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters tick all the time: they reach the details, and the picture is not drawn again."""
    diagram = Diagram(lab)
    monkeypatch.setattr("netlab.view.diagram.picture", lambda _: pytest.fail("it was drawn again"))
    snapshot = samples.two_hosts()
    links = tuple(replace(i, counters=Counters(tx_bytes=9)) for i in snapshot.hosts[0].interfaces)
    lab.watcher.tell(replace(snapshot, hosts=(replace(snapshot.hosts[0], interfaces=links), snapshot.hosts[1])))
    shown = {**diagram.details, **diagram.fresher}["if:red/eth0"]
    assert shown["counters"][1] == ["bytes", 0, 9]


def test_a_change_of_topology_is_a_picture(lab: FakeLab) -> None:
    """A new host needs a new layout, and no patch is left over."""
    diagram = Diagram(lab)
    lab.watcher.tell(samples.two_hosts(up=(True, False)))
    before = diagram.svg
    lab.watcher.tell(samples.router())
    assert diagram.svg != before
    assert diagram.patch == {}


def test_only_fresh_details_are_sent(lab: FakeLab) -> None:
    """Counters that tick in one place send that place only, not all that is known."""
    lab.watcher.last = samples.star(8)
    diagram = Diagram(lab)
    hub = samples.star(8).hosts[0]
    links = tuple(replace(i, counters=Counters(rx_packets=7)) if i.name == "p1" else i for i in hub.interfaces)
    base = diagram.details
    lab.watcher.tell(replace(samples.star(8), hosts=(replace(hub, interfaces=links), *samples.star(8).hosts[1:])))
    assert diagram.details is base
    assert list(diagram.fresher) == ["if:hub/p1"]
    assert diagram.fresher["if:hub/p1"]["counters"][0] == ["packets", 7, 0]
    gone = replace(samples.star(8), hosts=samples.star(8).hosts[:-1])
    lab.watcher.tell(gone)
    assert diagram.fresher["host:h8"] is None


def test_the_reader_unfolds_a_node() -> None:
    """What the browser asks for is drawn at once, and folded again when it is asked for no more."""
    diagram = Diagram(FakeLab(samples.crowd()))
    assert 'data-nl-id="open:node-3"' not in diagram.svg
    diagram.unfolded = "node-3"
    assert 'data-nl-id="open:node-3"' in diagram.svg
    assert 'data-nl-id="open:node-4"' not in diagram.svg
    diagram.unfolded = ""
    assert 'data-nl-id="open:node-3"' not in diagram.svg


def test_all_that_is_sent_is_json() -> None:
    """Every trait reaches the browser as JSON, whatever the lab."""
    for make in samples.ALL.values():
        diagram = Diagram(FakeLab(make()))
        for trait in ("svg", "patch", "details", "fresher", "marks", "news"):
            json.dumps(getattr(diagram, trait))


def test_details_tell_what_is_asked_for() -> None:
    """Addresses, state, counters, neighbours and routes of an interface; rules and sockets of a host."""
    found = details(samples.router())
    lists = dict(found["if:red/eth0"]["lists"])
    assert lists["Addresses"] == ["10.0.1.2/24 scope global"]
    assert lists["Neighbours"] == ["10.0.1.1  8e:1f:22:0a:00:01  REACHABLE"]
    assert "default via 10.0.1.1 dev eth0" in lists["Routes"]
    assert [row[0] for row in found["if:red/eth0"]["counters"]] == ["packets", "bytes", "errors", "dropped"]
    host = dict(found["host:router"]["lists"])
    assert host["iptables nat POSTROUTING"] == ["    3  -s 10.0.1.0/24 -j MASQUERADE"]
    assert any("python3" in line for line in dict(found["host:blue"]["lists"])["Listening"])


def test_two_diagrams_of_one_lab_do_not_disturb_each_other(lab: FakeLab) -> None:
    """Each has its own key, and one goes on when the other is closed."""
    one, two = Diagram(lab), Diagram(lab)
    assert one.key != two.key
    one.close()
    lab.watcher.tell(samples.two_hosts(up=(False, True)))
    assert two.patch["fragments"]
    assert not one.patch
    assert len(lab.watcher.callbacks) == 1


def test_a_closed_lab_keeps_its_last_picture(lab: FakeLab) -> None:
    """The picture stays and says that the lab is closed."""
    diagram = Diagram(lab)
    lab.close()
    assert diagram.closed
    assert "if:red/eth0" in diagram.svg
    assert "This lab is closed." in diagram.to_svg()
    assert repr(diagram) == "<Diagram of lab two-hosts, closed>"


def test_a_diagram_of_a_closed_lab_says_so(lab: FakeLab) -> None:
    """There is nothing to draw, and no thread to follow it."""
    lab.close()
    diagram = Diagram(lab)
    assert diagram.closed
    with pytest.raises(InvalidInputError, match="was closed before"):
        diagram.to_svg()


def test_it_keeps_no_lab_alive() -> None:
    """A lab that is forgotten goes, although a diagram of it is still there."""
    lab = FakeLab(samples.two_hosts())
    known = weakref.ref(lab)
    diagram = Diagram(lab)
    del lab
    gc.collect()
    assert known() is None
    assert "if:red/eth0" in diagram.to_svg()


def test_no_lab_keeps_it_alive(lab: FakeLab) -> None:
    """A diagram that is forgotten goes; the lab goes on without it."""
    diagram = Diagram(lab)
    known = weakref.ref(diagram)
    del diagram
    gc.collect()
    assert known() is None
    lab.watcher.tell(samples.two_hosts(up=(True, False)))
    lab.close()


def test_updates_from_several_threads_end_in_the_last_state(lab: FakeLab) -> None:
    """Whatever the threads do at once, what is shown fits together."""
    diagram = Diagram(lab)
    states = [samples.two_hosts(), samples.two_hosts(up=(True, False)), samples.router()]
    threads = [threading.Thread(target=diagram._update, args=(states[number % 3],)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    diagram._update(samples.two_hosts())
    assert diagram.svg
    assert set(diagram.details) == set(details(samples.two_hosts()))
    ids = {e.get("data-nl-id") for e in ET.fromstring(diagram.svg).iter()}  # noqa: S314 - our own text
    assert set(diagram.patch.get("fragments", {})) <= ids


def test_it_is_saved_as_a_file(lab: FakeLab, tmp_path: Path) -> None:
    """A diagram can be saved without a notebook, as SVG; another ending is refused with words."""
    diagram = Diagram(lab)
    path = diagram.save(tmp_path / "lab.svg")
    assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own text
    with pytest.raises(InvalidInputError, match="saved as"):
        diagram.save(tmp_path / "lab.doc")
