"""Chapter 00: its one exercise, with its solution and usual mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.course import Exercise, Hint, Mistake, Verdict
from netlab.course.proof import ping
from netlab.course.values import failed, passed

if TYPE_CHECKING:
    from netlab.course import Scene

_LOOPBACK = "127.0.0.1"


def setup_loopback(scene: Scene) -> None:
    """Make one host as the kernel makes a network namespace: with a loopback interface that is down."""
    (newcomer,) = scene.add_hosts("newcomer")
    newcomer.set_link("lo", up=False)


def received(scene: Scene) -> int:
    """Return how many packets have come in by the loopback interface so far."""
    return scene.host("newcomer").state().interface("lo").counters.rx_packets


def check_loopback(scene: Scene) -> Verdict:
    """See that an echo request to 127.0.0.1 is answered, and that lo carried both packets."""
    name = scene.values["newcomer"]
    expected = f"lo is UP, and an echo request to {_LOOPBACK} is answered over it"
    lo = scene.host("newcomer").state().interface("lo")
    if not lo.up:
        return failed(
            f"lo of {name} is {lo.state_words}, so nothing passes through it, and {_LOOPBACK} gets no answer",
            expected,
            f"`ip -brief link` in {name}, and `ip link help`: what can be said about a link?",
        )
    before = received(scene)
    answered = ping(scene, "newcomer", _LOOPBACK)
    carried = received(scene) - before
    if not answered:
        return failed(
            f"lo of {name} is UP, and it carried {carried} packet{'' if carried == 1 else 's'}, but there is no answer",
            expected,
            f"`ip address` and `iptables -S` in {name}: is {_LOOPBACK} there, and is a packet let out, and in?",
        )
    return passed(f"{_LOOPBACK} answers in {name}, and lo carried {carried} packets")


LOOPBACK = Exercise(
    key="00-loopback",
    title="Make a host talk to itself",
    goal="{newcomer} is new: nobody has configured it. Make `ping 127.0.0.1` get an answer in {newcomer}.",
    setup=setup_loopback,
    check=check_loopback,
    solution={"newcomer": "ip link set lo up"},
    why=(
        "Look at the addresses of {newcomer} now: nobody typed them. The kernel puts 127.0.0.1/8 on a loopback interface when it goes up, and ::1/128 "
        "where IPv6 is on."
    ),
    hints=(
        Hint(
            "Which interfaces has {newcomer}, and what does the kernel say about each? `ip -brief link` shows it in one line.",
            lambda scene: not scene.host("newcomer").state().interface("lo").up,
        ),
        Hint(
            "`ip link set` changes an interface, and `ip link help` lists the words that it takes. Which one is the contrary of what you see?",
            lambda scene: not scene.host("newcomer").state().interface("lo").up,
        ),
        Hint("lo is UP. Does something keep a packet from leaving or coming in? `iptables -S` shows it."),
    ),
    others=({"newcomer": "ip -batch - <<< 'link set lo up'"}, {"newcomer": "ip link set group default up"}),
    mistakes=(
        Mistake("only the address", {"newcomer": "ip address add 127.0.0.1/8 dev lo"}, "lo of {newcomer} is DOWN"),
        Mistake(
            "another interface instead",
            {
                "newcomer": "ip link add lo0 type veth peer name lo1\nip address add 127.0.0.1/8 dev lo0\n"
                "ip link set lo0 up\nip link set lo1 up"
            },
            "lo of {newcomer} is DOWN",
        ),
        Mistake(
            "the packet is not let in",
            {"newcomer": "ip link set lo up\niptables -P INPUT DROP"},
            "it carried 1 packet, but there is no answer",
        ),
        Mistake(
            "the address is taken away",
            {"newcomer": "ip link set lo up\nip address flush dev lo"},
            "it carried 0 packets, but there is no answer",
        ),
    ),
)

EXERCISES = (LOOPBACK,)
