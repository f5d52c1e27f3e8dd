"""The rules on ADD, CHECK, STATUS, GC and DEL that `netlab cni conformance` checks. A docstring is the rule.

Source: SPEC.md of the CNI project, version 1.1, sections 2 and 5. They build on each other: ADD comes before CHECK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netlab.kubernetes.cni.conformance import (
    CHAINED,
    INTERFACE,
    SECTION_ADD,
    SECTION_CHECK,
    SECTION_DEL,
    SECTION_ERROR,
    SECTION_GC,
    SECTION_RESULT,
    SECTION_STATUS,
    Skipped,
    expect,
    read_object,
)
from netlab.kubernetes.cni.rules import CHECKS, NOWHERE, names, rule

if TYPE_CHECKING:
    from netlab.kubernetes.cni.conformance import Bench

__all__ = ["CHECKS"]

# -- ADD ----------------------------------------------------------------------------


@rule(SECTION_ADD)
def add_succeeds(bench: Bench) -> None:
    """ADD succeeds, and prints one JSON object and nothing else."""
    bench.ensure_previous()
    bench.results["before"] = names(bench.node)
    bench.results["ADD"] = read_object(bench.succeed("ADD").stdout)


@rule(SECTION_ADD, INTERFACE)
def add_makes_the_interface(bench: Bench) -> None:
    """ADD makes the interface CNI_IFNAME inside the namespace CNI_NETNS."""
    bench.added()
    expect(bench.interface(), "there is no eth0 in the namespace")


@rule(SECTION_ADD)
def add_sets_it_up(bench: Bench) -> None:
    """The interface is up."""
    bench.added()
    expect(bench.interface() and bench.interface().up, "eth0 is down")


@rule(SECTION_RESULT)
def result_version(bench: Bench) -> None:
    """The result has the cniVersion of the configuration."""
    expect(bench.added().get("cniVersion") == bench.version, f"cniVersion is {bench.added().get('cniVersion')!r}")


def _own(bench: Bench) -> dict[str, Any]:
    found = [each for each in bench.added().get("interfaces") or () if each.get("name") == "eth0"]
    expect(found, "interfaces has no eth0")
    return dict(found[0])


@rule(SECTION_RESULT)
def result_interface(bench: Bench) -> None:
    """The result lists the interface, with its namespace as sandbox."""
    sandbox = _own(bench).get("sandbox")
    expect(sandbox == f"/run/netns/{bench.pod.name}", f"sandbox is {sandbox!r}")


@rule(SECTION_RESULT)
def result_mac(bench: Bench) -> None:
    """The MAC address in the result is the interface's."""
    mac = _own(bench).get("mac")
    interface = bench.interface()
    expect(interface, "there is no eth0 in the namespace")
    expect(not mac or mac == interface.mac, f"it says {mac}, and the kernel {interface.mac}")


@rule(SECTION_RESULT)
def result_addresses(bench: Bench) -> None:
    """The addresses in the result are on the interface."""
    wanted = {each.get("address") for each in bench.added().get("ips") or ()}
    found = {str(each.address) for each in bench.pod.state().addresses_of("eth0")}
    expect(wanted <= found, f"these are not: {', '.join(sorted(map(str, wanted - found)))}")


@rule(SECTION_RESULT)
def result_indices(bench: Bench) -> None:
    """Each address names its interface by an index into the list, and a prefix stands in it."""
    interfaces = bench.added().get("interfaces") or ()
    for each in bench.added().get("ips") or ():
        index = each.get("interface")
        expect(index is None or (isinstance(index, int) and 0 <= index < len(interfaces)), f"interface is {index!r}")
        expect("/" in str(each.get("address")), f"address is {each.get('address')!r}")


@rule(SECTION_RESULT, INTERFACE)
def result_routes(bench: Bench) -> None:
    """The routes in the result are in the namespace."""
    wanted = {each.get("dst") for each in bench.added().get("routes") or ()}
    found = {str(route.destination) for route in bench.pod.state().routes_of()}
    expect(wanted <= found, f"these are not: {', '.join(sorted(map(str, wanted - found)))}")


def _passed_on(bench: Bench, field: str, key: str) -> None:
    before = {str(each.get(key)) for each in (bench.previous or {}).get(field) or ()}
    after = {str(each.get(key)) for each in bench.added().get(field) or ()}
    expect(before <= after, f"these are missing in {field}: {', '.join(sorted(before - after))}")


@rule(SECTION_ADD, CHAINED)
def passes_on_interfaces(bench: Bench) -> None:
    """The result passes on the interfaces of prevResult."""
    _passed_on(bench, "interfaces", "name")


@rule(SECTION_ADD, CHAINED)
def passes_on_addresses(bench: Bench) -> None:
    """The result passes on the addresses of prevResult."""
    _passed_on(bench, "ips", "address")


@rule(SECTION_ADD, CHAINED)
def passes_on_routes(bench: Bench) -> None:
    """The result passes on the routes of prevResult."""
    _passed_on(bench, "routes", "dst")


@rule(SECTION_ERROR, CHAINED)
def add_without_a_chain(bench: Bench) -> None:
    """ADD without prevResult does no harm: it succeeds, or is refused by an error in JSON."""
    result = bench.call("ADD", {"prevResult": None}, CNI_CONTAINERID="container-0")
    answer = read_object(result.stdout)
    expect(result.ok or isinstance(answer.get("code"), int), f"code is {answer.get('code')!r}")
    if result.ok:
        bench.call("DEL", CNI_CONTAINERID="container-0")


@rule(SECTION_ADD, INTERFACE)
def add_again(bench: Bench) -> None:
    """A second ADD of the same container and interface is refused."""
    bench.added()
    bench.refuse("ADD")


@rule(SECTION_ADD, INTERFACE)
def add_again_changes_nothing(bench: Bench) -> None:
    """The refused ADD leaves the first attachment as it was."""
    bench.added()
    expect(bench.interface() and bench.interface().up, "eth0 is gone, or down")


@rule(SECTION_ADD, INTERFACE)
def add_another_interface(bench: Bench) -> None:
    """The same container may be attached once more by another interface."""
    bench.added()
    bench.succeed("ADD", CNI_IFNAME="eth1")
    expect(bench.interface("eth1"), "there is no eth1 in the namespace")


# -- CHECK --------------------------------------------------------------------------


@rule(SECTION_CHECK)
def check_passes(bench: Bench) -> None:
    """CHECK succeeds after ADD, given its result."""
    bench.succeed("CHECK", {"prevResult": bench.added()})


@rule(SECTION_CHECK)
def check_says_nothing(bench: Bench) -> None:
    """CHECK prints nothing on success."""
    result = bench.succeed("CHECK", {"prevResult": bench.added()})
    expect(not result.stdout.strip(), f"it printed {result.stdout.strip()[:80]}")


@rule(SECTION_CHECK)
def check_needs_the_result(bench: Bench) -> None:
    """CHECK without prevResult is refused."""
    bench.added()
    bench.refuse("CHECK")


@rule(SECTION_CHECK, INTERFACE)
def check_sees_a_missing_interface(bench: Bench) -> None:
    """CHECK is refused when the interface is not there."""
    result = {**bench.added()}
    bench.pod.set_link("eth0", up=False)
    bench.pod.set_link("eth0", new_name="away")
    try:
        bench.refuse("CHECK", {"prevResult": result})
    finally:
        bench.pod.set_link("away", new_name="eth0")
        bench.pod.set_link("eth0", up=True)


@rule(SECTION_CHECK, INTERFACE)
def check_sees_a_missing_address(bench: Bench) -> None:
    """CHECK is refused when an address of the result is not on the interface."""
    addresses = [each["address"] for each in bench.added().get("ips") or ()]
    if not addresses:
        raise Skipped("the result has no addresses")
    bench.pod.remove_address("eth0", addresses[0])
    try:
        bench.refuse("CHECK", {"prevResult": bench.added()})
    finally:
        bench.pod.add_address("eth0", addresses[0])


# -- STATUS and GC --------------------------------------------------------------------


@rule(SECTION_STATUS)
def status_succeeds(bench: Bench) -> None:
    """STATUS succeeds while the plugin can serve ADD."""
    _needs_1_1(bench)
    bench.succeed("STATUS", CNI_CONTAINERID=None, CNI_NETNS=None, CNI_IFNAME=None)


@rule(SECTION_GC)
def gc_keeps_the_valid(bench: Bench) -> None:
    """GC leaves the attachments alone that it is told are valid."""
    _needs_1_1(bench)
    pairs = [{"containerID": "container-1", "ifname": name} for name in ("eth0", "eth1")]
    bench.succeed("GC", {"cni.dev/valid-attachments": pairs}, CNI_CONTAINERID=None, CNI_NETNS=None, CNI_IFNAME=None)
    bench.added()
    expect(bench.interface(), "eth0 is gone")


def _needs_1_1(bench: Bench) -> None:
    if not bench.at_least_1_1:
        raise Skipped("the plugin does not speak version 1.1.0")


# -- DEL ----------------------------------------------------------------------------


@rule(SECTION_DEL)
def del_succeeds(bench: Bench) -> None:
    """DEL succeeds, and prints nothing."""
    result = bench.succeed("DEL", {"prevResult": bench.added()})
    if bench.previous is None:
        bench.succeed("DEL", CNI_IFNAME="eth1")
    expect(not result.stdout.strip(), f"it printed {result.stdout.strip()[:80]}")


@rule(SECTION_DEL, INTERFACE)
def del_removes(bench: Bench) -> None:
    """DEL removes the interface."""
    bench.added()
    expect(not bench.interface(), "eth0 is still there")


@rule(SECTION_DEL, CHAINED)
def del_leaves_the_others(bench: Bench) -> None:
    """DEL leaves the interface alone, which another plugin made."""
    bench.added()
    expect(bench.interface() and bench.interface().up, "eth0 is gone, or down")


@rule(SECTION_DEL)
def del_leaves_nothing(bench: Bench) -> None:
    """DEL leaves no end of the attachment in the node."""
    bench.added()
    left = {name for name in names(bench.node) - bench.results["before"] if name.startswith("veth")}
    expect(not left, f"it left {', '.join(sorted(left))}")


@rule(SECTION_DEL)
def del_again(bench: Bench) -> None:
    """DEL of what is gone already succeeds."""
    bench.succeed("DEL", {"prevResult": bench.added()})


@rule(SECTION_DEL)
def del_without_namespace(bench: Bench) -> None:
    """DEL succeeds when the namespace is not there any more."""
    bench.succeed("DEL", CNI_NETNS=NOWHERE)


@rule(SECTION_DEL)
def del_with_empty_namespace(bench: Bench) -> None:
    """DEL succeeds with an empty CNI_NETNS."""
    bench.succeed("DEL", CNI_NETNS="")


@rule(SECTION_DEL, INTERFACE)
def del_gives_back(bench: Bench) -> None:
    """After DEL the container can be attached again."""
    bench.added()
    bench.succeed("ADD")
    bench.succeed("DEL")
