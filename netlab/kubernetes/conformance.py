"""Hold the Service proxy against recorded output of the real kube-proxy.

`run` takes a folder of recordings and returns a table: suite by suite, how many cases agree, and which do not.
What asks the kernel takes the programs to ask with; the rest is pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from netlab.errors import NotFoundError
from netlab.kubernetes.proxy import iptables, nftables
from netlab.kubernetes.proxy.endpoints import choose
from netlab.kubernetes.proxy.fields import Field
from netlab.kubernetes.proxy.model import Endpoint, Family, ServicePort, Settings, State
from netlab.kubernetes.proxy.settings import ADDRESSES, read_settings
from netlab.kubernetes.proxy.state import Inventory
from netlab.kubernetes.rulesets import NftTable, Tables, read_listing, read_script, read_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    # Given the family and the text, return what the kernel then lists, in a namespace without rules.
    Listing = Callable[[Family, str], str]
    # Given what a proxy knows and its mode, sync once in a host without rules, and return what the kernel then lists.
    Synced = Callable[[Inventory, str], str]

Case = dict[str, Any]

NODE_ADDRESSES = ("192.168.0.2", "192.168.1.2", "192.168.99.11", "2001:db8::1", "2001:db8:1::2")
_PODS = {Family.IPV4: "10.0.0.0/8", Family.IPV6: "fd00:10::/64"}


@dataclass(slots=True)
class Suite:
    """The outcome of one kind of comparison.

    ``unrecorded`` says what could not be compared here, and why.
    """

    name: str
    passed: int = 0
    failing: list[str] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Return the number of comparisons made."""
        return self.passed + len(self.failing)

    def note(self, case: str, *, agrees: bool) -> None:
        """Count one comparison."""
        if agrees:
            self.passed += 1
        else:
            self.failing.append(case)

    def __str__(self) -> str:
        """Return one line of a table."""
        line = f"{self.name:<28} {self.passed:>4}/{self.total}"
        if self.unrecorded:
            line += f"  ({len(self.unrecorded)} more that cannot be compared here)"
        return f"{line}  failing: {', '.join(self.failing)}" if self.failing else line


def run(folder: Path, synced: Synced) -> list[Suite]:
    """Return the suites of texts and states for the recordings in ``folder`` (it holds ``kube-proxy/``).

    ``synced`` is asked about the steps in which kube-proxy wrote nothing; the rest is pure. Raises `NotFoundError` if
    the folder does not hold them.
    """
    home = home_of(folder)
    return [
        *_iptables_cases(home, synced),
        *_nftables_cases(home, synced),
        _endpoint_choice(home),
        _restore_inputs(home),
    ]


def run_saved(folder: Path, iptables_save: Listing, nft_list: Listing) -> list[Suite]:
    """Return the suites that compare what the kernel lists after our text with what it listed after kube-proxy's."""
    home = home_of(folder)
    saved = Suite("iptables saved rulesets")
    listed = Suite("nftables listed tables")
    script = ""
    old: nftables.Ruleset | None = None
    sweep = ""
    for step in golden_steps(home):
        family = step.state.settings.family
        if step.mode == "iptables":
            ours = iptables_save(family, iptables.first(iptables.build(step.state)))
            agrees = read_tables(ours).own == read_tables(step.golden).own and _jumps(ours) == _jumps(step.golden)
            saved.note(step.name, agrees=agrees)
            continue
        new = nftables.build(step.state)
        if step.number == 0 or old is None:
            script, sweep = nftables.first(new), ""
        else:
            # As kube-proxy does: what the last sync emptied is deleted before this one.
            script += sweep + nftables.partial(old, new)
            sweep = nftables.sweep(old, new)
        listed.note(step.name, agrees=read_listing(nft_list(family, script)) == read_listing(step.golden))
        old = new
    return [saved, listed]


@dataclass(frozen=True, slots=True)
class GoldenStep:
    """One recorded listing of the kernel, and the state that led to it; ``number`` counts from 0 within a case."""

    case: str
    number: int
    mode: str
    state: State
    golden: str

    @property
    def name(self) -> str:
        """Return the name of the recording."""
        return f"{self.case}.{self.number}"


def golden_steps(home: Path) -> Iterator[GoldenStep]:
    """Yield every step in ``golden``: case by case, first all steps of one mode, then of the other."""
    for case in read_cases(home / "flows"):
        name = case["id"]
        steps = [case["objects"], *(step["objects"] for step in case.get("after") or [])]
        for mode, ending in (("iptables", "save"), ("nftables", "nft")):
            settings = flow_settings(case["config"], mode)
            for number, objects in enumerate(steps):
                path = home / "golden" / mode / f"{name}.{number}.{ending}"
                if path.exists():
                    yield GoldenStep(name, number, mode, _inventory(settings, objects).state, path.read_text())


def flow_settings(config: Case, mode: str) -> Settings:
    """Return the settings of a case in ``flows``."""
    family = Family(config["ipFamily"])
    manifest = {
        "mode": mode,
        "clusterCIDR": f"{config['podCIDR']},{config['podCIDR6']}" if config["localDetector"] else "",
        "nodePortAddresses": config["nodePortAddresses"],
        mode: {"masqueradeBit": config["masqueradeBit"], "masqueradeAll": config["masqueradeAll"]},
    }
    if mode == "iptables":
        manifest[mode]["localhostNodePorts"] = config["localhostNodePorts"]
    return read_settings(Field(manifest, "config"), _node(config["nodeName"], config["nodeLabels"]), family)


def case_settings(config: Case, mode: str) -> Settings:
    """Return the settings of a step in ``cases``: the fields of kube-proxy's own unit tests."""
    family = Family(config["ipFamily"])
    manifest = {
        "mode": mode,
        "clusterCIDR": _PODS[family] if config["localDetector"] else "",
        "nodePortAddresses": config["nodePortAddresses"].strip("[]").split(),
        mode: {"masqueradeAll": config["masqueradeAll"]},
        "conntrack": {"tcpBeLiberal": config.get("conntrackTCPLiberal", False)},
    }
    if mode == "iptables":
        manifest[mode]["localhostNodePorts"] = config["localhostNodePorts"]
    node = _node(config["nodeName"], config["topologyLabels"] or {})
    cidrs = [config["serviceCIDRs"]] if config.get("serviceCIDRs") else []
    return replace(read_settings(Field(manifest, "config"), node, family, cidrs), node_ip=config["nodeIP"])


def home_of(folder: Path) -> Path:
    """Return the part of ``folder`` that was recorded from kube-proxy; raises `NotFoundError` if it is not there."""
    home = folder / "kube-proxy"
    if not (home / "cases").is_dir():
        raise NotFoundError(f"{folder} holds no recordings of kube-proxy: expected a folder kube-proxy/cases in it")
    return home


def read_cases(folder: Path) -> Iterator[Case]:
    """Yield the cases in a folder, each with its ``id``."""
    for path in sorted(folder.glob("*.json")):
        if path.name != "INDEX.json":
            yield {"id": path.stem, **json.loads(path.read_text())}


def _node(name: str, labels: dict[str, str]) -> Field:
    addresses = [{"type": "InternalIP", "address": NODE_ADDRESSES[index]} for index in (0, 3)]
    metadata = {"name": name, "labels": labels, "annotations": {ADDRESSES: ",".join(NODE_ADDRESSES)}}
    return Field({"metadata": metadata, "status": {"addresses": addresses}}, "node")


def _inventory(settings: Settings, objects: list[Case]) -> Inventory:
    return Inventory.empty(settings).update(Field(item, "object") for item in objects)


def _silent(step: Case, mode: str) -> Inventory:
    """Return what kube-proxy knew in a step in which it wrote nothing: all Services, and of EndpointSlices not a word.

    Its unit tests tell it so (OnServiceSynced), and let it sync. Those that have no settings did not even start it.
    """
    if not step["config"]:
        return Inventory.unknown(Settings(Family.IPV4))
    unknown = Inventory.unknown(case_settings(step["config"], mode))
    return unknown.update(Field(item, "object") for item in step["objects"]).hear("Service")


def _iptables_cases(home: Path, synced: Synced) -> Iterator[Suite]:
    states, texts, partials = Suite("iptables states"), Suite("iptables exact texts"), Suite("iptables partial syncs")
    for case in read_cases(home / "cases" / "iptables"):
        old: iptables.Ruleset | None = None
        steps = case["steps"]
        for number, step in enumerate(steps):
            name = f"{case['id']} step {number}"
            if not step["output"]:
                states.note(name, agrees=not synced(_silent(step, "iptables"), "iptables"))
                continue
            settings = case_settings(step["config"], "iptables")
            new = iptables.build(_inventory(settings, step["objects"]).state)
            recorded = read_tables(step["output"])
            whole = old is None or {("nat", chain) for chain in new.chains} <= recorded.chains.keys() | {
                ("nat", chain) for chain in recorded.deleted
            }
            if old is not None and not (whole and _rewrites(recorded, old, new)):
                ours = read_tables(iptables.partial(old, new))
                partials.note(name, agrees=_same(ours, recorded))
            else:
                ours = read_tables(iptables.full(new, existing=old.chains if old else ()))
            states.note(name, agrees=_same(ours, recorded))
            for expected in step["expected"]:
                texts.note(name, agrees=_same(ours, read_tables(expected)))
            following = read_tables(steps[number + 1]["output"]) if number + 1 < len(steps) else Tables()
            # A sync that failed left its chains: the next one deletes them again.
            if not recorded.deleted & following.deleted:
                old = new
    yield from (states, texts, partials)


def _rewrites(recorded: Tables, old: iptables.Ruleset, new: iptables.Ruleset) -> bool:
    """Say whether a recorded sync wrote chains of a Service that did not change: then it was a full one."""
    same = [new.fragments[name] for name in new.fragments if new.fragments[name] == old.fragments.get(name)]
    chains = {("nat", chain) for fragment in same for chain in fragment.chains}
    return not chains or bool(chains & recorded.chains.keys())


def _same(ours: Tables, recorded: Tables) -> bool:
    return ours.own == recorded.own and ours.deleted == recorded.deleted


def _jumps(text: str) -> list[tuple[str, object]]:
    """Return the chains that belong to the kernel, with the proxy's jumps in them."""
    chains = read_tables(text).chains
    own = ((f"{table} {chain}", rules) for (table, chain), rules in chains.items() if not chain.startswith("KUBE-"))
    return sorted(own)


def _nftables_cases(home: Path, synced: Synced) -> Iterator[Suite]:
    states, texts, partials = Suite("nftables states"), Suite("nftables exact texts"), Suite("nftables partial syncs")
    for case in read_cases(home / "cases" / "nftables"):
        old: nftables.Ruleset | None = None
        table = NftTable()
        stale = ""
        for number, step in enumerate(case["steps"]):
            name = f"{case['id']} step {number}"
            if not step["output"]:
                states.note(name, agrees=not synced(_silent(step, "nftables"), "nftables"))
                continue
            settings = case_settings(step["config"], "nftables")
            new = nftables.build(_inventory(settings, step["objects"]).state)
            recorded = read_script(step["output"])
            if old is None:
                table.apply(nftables.first(new))
            else:
                if stale and table.objects.keys() - recorded.objects.keys():
                    # The recording let more than a second pass here, after which old chains are swept out.
                    table.apply(stale)
                    stale = ""
                table.apply(nftables.partial(old, new))
                stale += nftables.sweep(old, new)
                partials.note(name, agrees=table == recorded)
            states.note(name, agrees=table == recorded)
            for expected in step["expected"]:
                texts.note(name, agrees=table == read_script(expected))
            old = new
    yield from (states, texts, partials)


def _endpoint_choice(home: Path) -> Suite:
    suite = Suite("endpoint choice")
    for case in json.loads((home / "cases" / "categorize_endpoints.json").read_text()):
        service = case["service"]
        port = ServicePort(
            "ns", "svc", "", "tcp", "10.0.0.1", 80,
            accessible=service["externallyAccessible"],
            external_local=service["externalPolicyLocal"],
            internal_local=service["internalPolicyLocal"],
        )  # fmt: skip
        endpoints = [_endpoint(item, node_hints=case["preferSameTrafficDistribution"]) for item in case["endpoints"]]
        zone = (case["topologyLabels"] or {}).get("topology.kubernetes.io/zone", "")
        choice = choose(port, endpoints, case["nodeName"], zone)
        found = [sorted(e.text for e in part) for part in (choice.cluster, choice.local, choice.reachable)]
        wanted = [sorted(case[key] or ()) for key in ("cluster", "local", "allReachable")]
        suite.note(case["name"], agrees=found == wanted and choice.exists == case["hasAnyEndpoints"])
    return suite


def _endpoint(item: Case, *, node_hints: bool) -> Endpoint:
    address, _, port = item["endpoint"].rpartition(":")
    return Endpoint(
        address, int(port), item["endpoint"], item["isLocal"], item["ready"], item["serving"], item["terminating"],
        frozenset(item["zoneHints"]), frozenset(item["nodeHints"] if node_hints else ()),
    )  # fmt: skip


def _restore_inputs(home: Path) -> Suite:
    """Compare with the recorded inputs of iptables-restore: first syncs, and the partial ones that followed."""
    suite = Suite("iptables restore inputs")
    for case in read_cases(home / "flows"):
        settings = flow_settings(case["config"], "iptables")
        old: iptables.Ruleset | None = None
        for number, objects in enumerate([case["objects"], *(step["objects"] for step in case.get("after") or [])]):
            path = home / "golden" / "iptables" / f"{case['id']}.{number}.restores"
            new = iptables.build(_inventory(settings, objects).state)
            if path.exists():
                tables = Tables()
                tables.apply(path.read_text())
                ours = read_tables(iptables.full(new) if old is None else iptables.partial(old, new))
                suite.note(path.stem, agrees=_same(ours, tables))
            old = new
    return suite
