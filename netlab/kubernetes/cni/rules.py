"""The first rules that `netlab cni conformance` checks: VERSION, parameters and errors. A docstring is the rule.

Source: SPEC.md of the CNI project, version 1.1, sections 2 and 5.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from netlab.kubernetes.cni.conformance import (
    CHAINED,
    INTERFACE,
    SECTION_ADD,
    SECTION_ERROR,
    SECTION_PARAMETERS,
    SECTION_VERSION,
    expect,
    read_object,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab.host import Host
    from netlab.kubernetes.cni.conformance import Bench, Check

CHECKS: list[Check] = []
NOWHERE = "/run/netns/is-not-there"


def rule(section: str, *kinds: str) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Add a check to the list; ``kinds`` of plugins that it is for, all of them where none is said."""

    def add(check: Callable[[Bench], None]) -> Callable[[Bench], None]:
        CHECKS.append((section, check, frozenset(kinds or (INTERFACE, CHAINED))))
        return check

    return add


def names(host: Host) -> set[str]:
    """Return the names of a host's interfaces."""
    return {interface.name for interface in host.state().interfaces}


# -- VERSION ------------------------------------------------------------------------


@rule(SECTION_VERSION)
def version_answers(bench: Bench) -> None:
    """VERSION succeeds, and prints a JSON object."""
    result = bench.succeed("VERSION", '{"cniVersion": "1.0.0"}')
    bench.results["VERSION"] = read_object(result.stdout)


@rule(SECTION_VERSION)
def version_lists(bench: Bench) -> None:
    """VERSION lists the supported versions of the specification."""
    versions = bench.results.get("VERSION", {}).get("supportedVersions")
    expect(isinstance(versions, list) and versions, f"supportedVersions is {versions!r}")
    wrong = [version for version in versions if not re.fullmatch(r"\d+\.\d+\.\d+", str(version))]
    expect(not wrong, f"these are no versions: {wrong}")
    bench.versions = tuple(versions)


@rule(SECTION_VERSION)
def version_names_itself(bench: Bench) -> None:
    """VERSION's answer has a cniVersion."""
    answer = bench.results.get("VERSION", {})
    expect(isinstance(answer.get("cniVersion"), str), f"cniVersion is {answer.get('cniVersion')!r}")


@rule(SECTION_VERSION)
def version_needs_nothing_else(bench: Bench) -> None:
    """VERSION needs no variable but CNI_COMMAND."""
    nothing = dict.fromkeys(("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"))
    bench.succeed("VERSION", '{"cniVersion": "1.0.0"}', **nothing)


@rule(SECTION_VERSION)
def version_is_recent(bench: Bench) -> None:
    """The plugin speaks version 1.0.0 or newer."""
    expect({"1.0.0", "1.1.0"} & set(bench.versions), f"it speaks {', '.join(bench.versions) or 'none'}")


# -- parameters and errors -----------------------------------------------------------


@rule(SECTION_PARAMETERS)
def unknown_command(bench: Bench) -> None:
    """An unknown CNI_COMMAND is refused with code 4."""
    bench.refuse_with(4, "JUMP")


@rule(SECTION_PARAMETERS)
def missing_command(bench: Bench) -> None:
    """A missing CNI_COMMAND is refused with code 4."""
    bench.refuse_with(4, "ADD", CNI_COMMAND=None)


def _missing(bench: Bench, variable: str) -> None:
    error = bench.refuse_with(4, "ADD", **{variable: None})
    words = f"{error.get('msg')} {error.get('details', '')}"
    expect(variable in words, f"the message does not name {variable}: {words.strip()}")


@rule(SECTION_PARAMETERS)
def missing_container(bench: Bench) -> None:
    """ADD without CNI_CONTAINERID is refused with code 4, and the message names it."""
    _missing(bench, "CNI_CONTAINERID")


@rule(SECTION_PARAMETERS)
def missing_netns(bench: Bench) -> None:
    """ADD without CNI_NETNS is refused with code 4, and the message names it."""
    _missing(bench, "CNI_NETNS")


@rule(SECTION_PARAMETERS)
def missing_interface(bench: Bench) -> None:
    """ADD without CNI_IFNAME is refused with code 4, and the message names it."""
    _missing(bench, "CNI_IFNAME")


@rule(SECTION_PARAMETERS)
def long_interface_name(bench: Bench) -> None:
    """An interface name of more than 15 characters is refused."""
    bench.refuse("ADD", CNI_IFNAME="sixteen-letters-")


@rule(SECTION_PARAMETERS)
def wrong_interface_name(bench: Bench) -> None:
    """An interface name with a slash is refused."""
    bench.refuse("ADD", CNI_IFNAME="eth/0")


@rule(SECTION_PARAMETERS)
def wrong_container(bench: Bench) -> None:
    """A container ID that does not begin with a letter or digit is refused."""
    bench.refuse("ADD", CNI_CONTAINERID="-container")


@rule(SECTION_ERROR)
def not_json(bench: Bench) -> None:
    """A configuration that is not JSON is refused with code 6."""
    bench.refuse_with(6, "ADD", "this is no JSON")


@rule(SECTION_ERROR)
def no_configuration(bench: Bench) -> None:
    """An empty configuration is refused with code 6."""
    bench.refuse_with(6, "ADD", "")


@rule(SECTION_ERROR)
def unknown_version(bench: Bench) -> None:
    """A cniVersion that the plugin does not speak is refused with code 1."""
    bench.refuse_with(1, "ADD", {"cniVersion": "9.9.9"})


@rule(SECTION_ERROR)
def no_network_name(bench: Bench) -> None:
    """A configuration without the network's name is refused with code 7."""
    bench.refuse_with(7, "ADD", json.dumps({"cniVersion": bench.version, "type": bench.plugin.name}))


@rule(SECTION_ERROR)
def error_has_its_fields(bench: Bench) -> None:
    """An error has a code (a number) and a msg (a text)."""
    error = bench.refuse("JUMP")
    expect(isinstance(error.get("code"), int), f"code is {error.get('code')!r}")
    expect(isinstance(error.get("msg"), str) and error["msg"], f"msg is {error.get('msg')!r}")


@rule(SECTION_ERROR)
def error_has_a_version(bench: Bench) -> None:
    """An error repeats the cniVersion of the configuration."""
    error = bench.refuse("JUMP")
    expect(error.get("cniVersion") == bench.version, f"cniVersion is {error.get('cniVersion')!r}")


@rule(SECTION_ADD, INTERFACE)
def add_without_namespace(bench: Bench) -> None:
    """ADD to a namespace that is not there is refused, and leaves nothing in the node."""
    before = names(bench.node)
    bench.refuse("ADD", CNI_NETNS=NOWHERE, CNI_CONTAINERID="container-0")
    left = {name for name in names(bench.node) - before if name.startswith("veth")}
    expect(not left, f"it left {', '.join(sorted(left))}")
