"""Read the recorded flows: who connects where, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from netlab.kubernetes.conformance import case_settings, flow_settings, home_of, read_cases
from netlab.kubernetes.proxy.fields import Field
from netlab.kubernetes.proxy.state import Inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from netlab.kubernetes.proxy.model import Settings

_SERVICE_RANGES = {"IPv4": ("172.30.0.0/16",), "IPv6": ("fd00:10:96::/112",)}


@dataclass(frozen=True, slots=True)
class Flow:
    """One recorded flow; ``endpoints`` are those that may answer, and ``verdict`` what happens if there are none."""

    name: str
    source: str
    protocol: str
    destination: str
    port: int
    verdict: str
    endpoints: frozenset[str]
    masqueraded: bool


@dataclass(frozen=True, slots=True)
class Step:
    """The objects of one moment of a case, with the flows that were tried then; ``number`` counts within the case."""

    case: str
    number: int
    mode: str
    settings: Settings
    inventory: Inventory
    flows: tuple[Flow, ...]


def flat_steps(folder: Path, mode: str) -> Iterator[Step]:
    """Yield the steps of the flat cases of a mode."""
    name = "flows" if mode == "iptables" else "flows-nftables"
    settings = flow_settings if mode == "iptables" else _with_service_range
    for case in read_cases(home_of(folder) / name):
        for number, step in enumerate([case, *(case.get("after") or [])]):
            yield _step(case["id"], number, mode, {**step, "config": case["config"]}, settings)


def _with_service_range(config: dict[str, Any], mode: str) -> Settings:
    """Add the Service range of the unit tests, without which one of their flows would not be dropped."""
    return replace(flow_settings(config, mode), service_cidrs=_SERVICE_RANGES[config["ipFamily"]])


def case_steps(folder: Path, mode: str) -> Iterator[Step]:
    """Yield the steps of kube-proxy's own unit tests of a mode."""
    for case in read_cases(home_of(folder) / "cases" / mode):
        # In some steps kube-proxy wrote nothing yet, since it had not heard of both kinds of objects.
        written = [step for step in case["steps"] if step["output"]]
        for number, step in enumerate(written):
            yield _step(case["id"], number, mode, step, case_settings)


def _step(
    case: str, number: int, mode: str, step: dict[str, Any], settings: Callable[[dict[str, Any], str], Settings]
) -> Step:
    found = settings(step["config"], mode)
    inventory = Inventory.empty(found).update(Field(item, "object") for item in step["objects"])
    return Step(case, number, mode, found, inventory, tuple(_flow(item) for item in step.get("flows") or ()))


def _flow(item: dict[str, Any]) -> Flow:
    output = item["output"]
    endpoints = frozenset(part.strip() for part in output.split(",")) if ":" in output else frozenset()
    return Flow(
        item["name"],
        item["sourceIP"],
        item["protocol"] or "TCP",
        item["destIP"],
        item["destPort"],
        "" if endpoints else output,
        endpoints,
        item["masq"],
    )
