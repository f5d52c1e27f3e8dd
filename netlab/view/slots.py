"""What a picture remembers of the ones before, so that things keep their places.

A host that vanishes leaves its place empty, and a table keeps the height of its longest time, until so many places
are empty that a fresh layout is better.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from netlab.view.parts import Room

if TYPE_CHECKING:
    from netlab.view.nouns import Cable, Scene, SceneHost

#: With so many empty places the picture is laid out afresh.
_TOO_MANY = 3


@dataclass(slots=True)
class Slots:
    """The memory of one picture."""

    scene: Scene | None = None
    rooms: dict[str, Room] = field(default_factory=dict)

    def keep(self, scene: Scene) -> Scene:
        """Return the scene with an empty slot for each host that vanished a short while ago."""
        kept = scene if self.scene is None else _with_gone(self.scene, scene)
        if sum(host.gone for host in kept.hosts) >= _TOO_MANY:
            kept = scene
            self.rooms.clear()
        self.rooms = {host.name: self.rooms.get(host.name, Room()).widened(host) for host in kept.hosts}
        self.scene = kept
        return kept

    def tidy(self) -> None:
        """Forget the places."""
        self.scene = None
        self.rooms.clear()


def _with_gone(old: Scene, new: Scene) -> Scene:
    names = {host.name for host in new.hosts}
    gone = [host.name for host in old.hosts if host.name not in names]
    if not gone:
        return new
    hosts = list(new.hosts)
    for place, host in enumerate(old.hosts):
        if host.name not in names:
            before = next(
                (i for i, h in enumerate(hosts) if old.hosts[:place] and h.name == old.hosts[place - 1].name), -1
            )
            hosts.insert(before + 1, replace(host, gone=True))
    cables = [cable for cable in old.cables if cable.a[0] in gone or cable.b[0] in gone]
    hosts = [host if host.gone else _with_ports(old, host, cables) for host in hosts]
    present = {(host.name, chip.name) for host in hosts for chip in host.chips}
    taken = {end for cable in new.cables for end in (cable.a, cable.b)}
    kept = tuple(c for c in cables if {c.a, c.b} <= present and not {c.a, c.b} & taken)
    return replace(new, hosts=tuple(hosts), cables=(*new.cables, *kept), _index={})


def _with_ports(old: Scene, host: SceneHost, cables: list[Cable]) -> SceneHost:
    """Return a host with the chips kept, as empty places, whose other ends went with their hosts."""
    ends = {end[1] for cable in cables for end in (cable.a, cable.b) if end[0] == host.name}
    here = {chip.name for chip in host.chips}
    try:
        before = old[host.name].chips
    except KeyError:
        return host
    chips = list(host.chips)
    for place, chip in enumerate(before):
        if chip.name in ends - here:
            chips.insert(min(place, len(chips)), replace(chip, gone=True))
    return replace(host, chips=tuple(chips))
