from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import view_samples as samples
from hypothesis import given, settings, strategies as st

from netlab.view.drawing import dot, draw
from netlab.view.folding import fold
from netlab.view.layout import lay_out
from netlab.view.places import Places
from netlab.view.scene import to_scene
from netlab.view.slots import Slots
from netlab.view.svg import picture

if TYPE_CHECKING:
    from random import Random

    from netlab.kernel.values import Snapshot


def lab(chance: Random) -> Snapshot:
    """Return hosts with bridges, tunnels and cables as a learner may lay them, sensible or not."""
    built = samples.Builder("any")
    count = chance.randint(2, 8)
    for number in range(count):
        name = f"h{number}"
        built.host(name, forward=chance.randint(0, 1))
        if chance.random() < 0.5:
            address = f"10.{number}.0.1/24" if chance.random() < 0.6 else None
            built.interface(name, chance.choice(("br0", "cni0")), address, kind="bridge")
        if chance.random() < 0.2:
            built.interface(name, "vx", f"10.99.{number}.0/32", kind="vxlan", details=(("id", "1"),))
    for number in range(chance.randint(1, 12)):
        ends = [
            (f"h{chance.randrange(count)}", chance.choice(("veth", "eth", "p")) + f"{number}{side}") for side in "ab"
        ]
        addresses = [f"10.{50 + number}.0.{last}/24" if chance.random() < 0.5 else None for last in (1, 2)]
        built.connect((*ends[0], addresses[0]), (*ends[1], addresses[1]))
        for host, name in ends:
            bridges = [link.name for link in built.hosts[host].interfaces if link.kind == "bridge"]
            if bridges and chance.random() < 0.7:
                samples._enslave(built, host, name, bridges[0])
    return built.build()


@given(st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None, database=None)
def test_any_lab_can_be_drawn_and_traced_over(chance: Random) -> None:
    """Whatever is cabled to whatever, also after a host has gone, and with a way for each cable on the picture."""
    snapshot = lab(chance)
    slots = Slots()
    for shown in (snapshot, replace(snapshot, hosts=snapshot.hosts[:1] + snapshot.hosts[2:])):
        scene = fold(slots.keep(to_scene(shown)))
        drawing = draw(scene, slots.rooms)
        assert picture(drawing).markup.startswith("<svg")
        places = Places(drawing, lay_out(dot(drawing)))
        gone = {host.name for host in scene.everybody() if host.gone}
        for cable in scene.every_cable():
            if not {cable.a[0], cable.b[0]} & gone:
                assert ("/".join(cable.a), "/".join(cable.b)) in places.cables
