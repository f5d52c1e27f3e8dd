"""The chains view: a host's firewall as a walk, with live counters, in a notebook or as text."""

from __future__ import annotations

import dataclasses
import weakref
from typing import TYPE_CHECKING, Any

import traitlets

from netlab.view.chains import HOOKS, Chain, describe, to_chains
from netlab.view.hits import to_hits
from netlab.view.kept import Kept
from netlab.view.notebook import Weak
from netlab.view.widget import script, style

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.host import Host
    from netlab.journey.values import Journey
    from netlab.kernel.values import HostState, Snapshot


class Rules(Kept):
    """Show a host's iptables and nftables rules: hook, chain, rules, and where they lead; made by `Host.rules`.

    ``print(host.rules())`` gives the same as text. Counters are live; `mark_journey` lights what a packet met.
    """

    _esm = script("rules.js")
    _css = style("rules.css")
    host = traitlets.Unicode().tag(sync=True)
    hooks: Any = traitlets.List(help="the hooks in order, each as [name, purpose]").tag(sync=True)
    chains: Any = traitlets.List(help="all chains, base chains first").tag(sync=True)
    counters = traitlets.Dict(help="packets of each rule, by the chain's id and the rule's number").tag(sync=True)
    hits: Any = traitlets.List(help="rules that are marked, each as [chain's id, rule's number]").tag(sync=True)
    marked = traitlets.Unicode(help="whose rules are marked, in words").tag(sync=True)
    closed = traitlets.Bool(default_value=False).tag(sync=True)

    def __init__(self, host: Host) -> None:
        """Begin to follow a host's rules."""
        super().__init__(host=host.name, hooks=[list(item) for item in HOOKS.items()])
        self._walk: tuple[Chain, ...] = ()
        self._journey: Journey | None = None
        self._state: HostState | None = None
        self._subscription = host.lab.watcher.subscribe(Weak(self._update))
        host.lab.on_close(Weak(self._farewell))
        self._lab = weakref.ref(host.lab)

    def __str__(self) -> str:
        """Return the walk as text."""
        return describe(self.host, self._walk, {(chain, number) for chain, number in self.hits})

    def __repr__(self) -> str:
        """Return what it is, in a few words."""
        return f"<Rules of {self.host}: {sum(len(chain.steps) for chain in self._walk)} in {len(self._walk)} chains>"

    def mark(self, hits: Iterable[tuple[str, str, str, str, int]]) -> None:
        """Mark rules, each as (tool, family, table, chain, number); an empty list takes all marks away."""
        self.hits = [["/".join(hit[:4]), hit[4]] for hit in hits]

    def mark_journey(self, journey: Journey | None) -> None:
        """Mark the rules that a journey met here, and open the chains that they are in; None takes all marks away."""
        self._journey = journey
        with self.hold_sync():
            self.marked = "" if journey is None else repr(journey).strip("<>")
            self._mark_again()
        self._renew()

    def _mark_again(self) -> None:
        """Find the journey's rules where they are now."""
        if self._state is not None:
            self.mark(to_hits(self._journey, self._state) if self._journey is not None else ())

    def close(self) -> None:
        """Take the widget away and follow the host no longer."""
        self._subscription.close()
        super().close()

    def _farewell(self) -> None:
        self.closed = True
        self._renew()

    def _update(self, snapshot: Snapshot) -> None:
        if self.host not in snapshot:
            return
        self._state = snapshot[self.host]
        self._walk = to_chains(self._state)
        counters = {
            chain.id: {str(step.number): step.packets for step in chain.steps if step.packets is not None}
            for chain in self._walk
        }
        chains = [_plain(chain) for chain in self._walk]
        with self.hold_sync():
            # Counters change all the time, rules seldom: what is open in the browser stays open.
            if chains != self.chains:
                self.chains = chains
                if self._journey is not None:
                    self._mark_again()
            self.counters = counters
        self._renew()


def _plain(chain: Chain) -> dict[str, Any]:
    """Return a chain as JSON, without what changes with every packet."""
    steps = [
        {
            "number": step.number,
            "text": step.text,
            "verdict": step.verdict,
            "targets": [f"{'/'.join(chain.key[:3])}/{target}" for target in step.targets],
            "comment": step.comment,
            "chance": step.chance,
            "share": step.share,
        }
        for step in chain.steps
    ]
    facts = dataclasses.asdict(chain)
    return {key: facts[key] for key in ("tool", "family", "table", "name", "hook", "policy", "alias")} | {
        "id": chain.id,
        "steps": steps,
    }
