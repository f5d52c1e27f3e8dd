"""iptables and nftables as a walk: hook, chain, rules, and the chains that they jump to. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from netlab.kernel.values import FirewallRule, HostState

#: The order in which a packet can meet the hooks, with what each is for (nft(8)).
HOOKS = {
    "ingress": "as it comes off an interface",
    "prerouting": "every packet that comes in, before the route is chosen",
    "input": "packets for this host itself",
    "forward": "packets on their way through",
    "output": "packets that this host's own processes send",
    "postrouting": "every packet that leaves, after the route was chosen",
}
_COMMENT = re.compile(r'-m comment --comment (?:"((?:[^"\\]|\\.)*)"|(\S+)) ?|\bcomment "([^"]*)"')
_IPTABLES_TARGET = re.compile(r"(?:^| )-(?:j|g) (\S+)")
_NFT_TARGET = re.compile(r"\b(?:jump|goto) ([^\s,}]+)")
_NFT_VERDICT = re.compile(r"\b(accept|drop|reject|return|masquerade|dnat|snat|redirect|continue|queue|notrack)\b")
_PROBABILITY = re.compile(r"--probability (\S+)")
#: What differs between rules of one row: the dice, and where they lead.
_DICE = re.compile(r" ?(?:-m statistic --mode random --probability \S+|-[jg] \S+.*)")
_KUBE = re.compile(r"KUBE-(SVC|SVL|EXT|FW|SEP)-[A-Z2-7]{16}")

Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """A rule as the walk shows it.

    ``targets`` are the chains it can go to; ``verdict`` is what it does else, in capitals; ``chance`` is its
    probability from 0 to 1, and ``share`` what of all packets that come to its row of dice it takes: of those that the
    rules before it have left over. ``comment`` was taken out of ``text``.
    """

    number: int
    text: str
    verdict: str
    targets: tuple[str, ...] = ()
    comment: str = ""
    chance: float | None = None
    packets: int | None = None
    bytes: int | None = None
    handle: int | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain with its rules in order.

    ``hook``, ``priority`` and ``policy`` are those of a base chain; ``alias`` is the Kubernetes name behind it.
    """

    tool: str
    family: str
    table: str
    name: str
    steps: tuple[Step, ...] = ()
    hook: str | None = None
    priority: int | None = None
    policy: str | None = None
    packets: int | None = None
    alias: str = ""

    @property
    def key(self) -> Key:
        """What tells it from all other chains of its host."""
        return self.tool, self.family, self.table, self.name

    @property
    def id(self) -> str:
        """The same as one text."""
        return "/".join(self.key)


def to_chains(host: HostState) -> tuple[Chain, ...]:
    """Return a host's chains: base chains in the order of hook and priority, then those that others jump to."""
    grouped: dict[Key, list[FirewallRule]] = {}
    for rule in host.rules:
        grouped.setdefault((rule.tool, rule.family, rule.table, rule.chain), []).append(rule)
    aliases = _aliases(host.rules)
    chains = [_chain(key, rules, aliases.get(key, "")) for key, rules in grouped.items()]
    known = {chain.key for chain in chains}
    # A chain without a rule is not listed by itself, but a rule may jump to it.
    for chain in list(chains):
        for step in chain.steps:
            missing = [(*chain.key[:3], target) for target in step.targets if (*chain.key[:3], target) not in known]
            chains += [Chain(*key, alias=aliases.get(key, "")) for key in missing]
            known.update(missing)
    order = list(HOOKS)
    bases = [chain for chain in chains if chain.hook is not None]
    bases.sort(key=lambda chain: (order.index(chain.hook or ""), chain.priority or 0, chain.family))
    return (*bases, *(chain for chain in chains if chain.hook is None))


def _chain(key: Key, rules: list[FirewallRule], alias: str) -> Chain:
    policy = next((rule for rule in rules if rule.policy is not None), None)
    steps = tuple(_shared([_step(rule) for rule in rules if rule.policy is None]))
    if policy is None:
        return Chain(*key, steps, alias=alias)
    return Chain(*key, steps, policy.hook, policy.priority, policy.policy, policy.packets, alias)


def _shared(steps: list[Step]) -> Iterator[Step]:
    """Yield the steps with their shares: in a row of rules that match the same, each rolls for what is left over."""
    for _, row in groupby(steps, key=lambda step: _DICE.sub("", step.text)):
        dice = list(row)
        left = 1.0 if any(step.chance is not None for step in dice) else None
        for step in dice:
            if left is None or not (step.targets or step.verdict):
                yield step
                continue
            share = left * (1.0 if step.chance is None else step.chance)
            yield replace(step, share=share)
            left -= share


def _step(rule: FirewallRule) -> Step:
    text = rule.text
    found = _COMMENT.search(text)
    comment = next((group for group in found.groups() if group is not None), "") if found else ""
    plain = _COMMENT.sub("", text).strip()
    chance = _PROBABILITY.search(text)
    if rule.tool == "nft":
        targets = tuple(dict.fromkeys(_NFT_TARGET.findall(text)))
        verdicts = _NFT_VERDICT.findall(re.sub(r'"[^"]*"', "", text))
        verdict = verdicts[-1].upper() if verdicts and not targets else ""
    else:
        match = _IPTABLES_TARGET.search(text)
        target = match[1] if match else ""
        # Built-in targets and extensions are in capitals too: a chain is what has rules, or a name of Kubernetes.
        targets, verdict = ((target,), "") if target and target not in _EXTENSIONS else ((), target)
    return Step(
        number=rule.number,
        text=plain,
        verdict=verdict,
        targets=targets,
        comment=comment.replace('\\"', '"'),
        chance=float(chance[1]) if chance else None,
        packets=rule.packets,
        bytes=rule.bytes,
        handle=rule.handle,
    )


#: Targets of iptables-extensions(8) that are no chains.
_EXTENSIONS = frozenset(
    (
        *("ACCEPT", "DROP", "RETURN", "QUEUE", "REJECT", "DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP"),
        *("MARK", "CONNMARK", "CT", "NOTRACK", "LOG", "NFLOG", "ULOG", "TRACE", "TCPMSS", "TTL", "HL", "TOS", "DSCP"),
        *("CLASSIFY", "CHECKSUM", "SET", "TPROXY", "NFQUEUE", "AUDIT", "TEE", "SECMARK", "CONNSECMARK", "HMARK"),
    )
)


def _aliases(rules: Iterable[FirewallRule]) -> dict[Key, str]:
    """Return the names behind KUBE- chains: kube-proxy writes them into the comments of the rules that lead there."""
    found: dict[Key, str] = {}
    for rule in rules:
        comment, target = _COMMENT.search(rule.text), _IPTABLES_TARGET.search(rule.text)
        if not comment or not target or not _KUBE.fullmatch(target[1]):
            continue
        words = next(group for group in comment.groups() if group is not None)
        # Some comments put words before the name: pod traffic for ns/name:port external destinations.
        name = words if "KUBE-SEP-" in target[1] else next((word for word in words.split(" ") if "/" in word), "")
        found.setdefault((rule.tool, rule.family, rule.table, target[1]), name)
    return found


def describe(host: str, chains: Iterable[Chain], hits: Collection[tuple[str, int]] = ()) -> str:
    """Return the walk as text: each hook with its chains, and below a rule the chain that it leads to, once.

    ``hits`` are rules to be marked, each as (id of its chain, number).
    """
    every = {chain.key: chain for chain in chains}
    if not every:
        return f"{host} has no iptables and no nftables rules: every packet passes."
    lines, shown = [host], set[Key]()
    met = frozenset(hits)
    for hook, purpose in HOOKS.items():
        bases = [chain for chain in every.values() if chain.hook == hook and (chain.steps or chain.policy != "ACCEPT")]
        if bases:
            lines += ["", f"{hook}: {purpose}"]
        for chain in bases:
            lines += _describe_chain(chain, every, ("  ", met), shown)
    return "\n".join(lines)


def _describe_chain(
    chain: Chain, every: dict[Key, Chain], look: tuple[str, frozenset[tuple[str, int]]], shown: set[Key]
) -> Iterator[str]:
    indent, met = look
    about = f" ({chain.alias})" if chain.alias else ""
    if chain.hook:
        yield f"{indent}{chain.tool} {chain.family} {chain.table} {chain.name}, policy {chain.policy}"
    elif chain.key in shown:
        yield f"{indent}{chain.name}{about}: see above"
        return
    else:
        yield f"{indent}{chain.name}{about}"
    shown.add(chain.key)
    if not chain.steps:
        yield f"{indent}       –  no rule"
    for step in chain.steps:
        packets = "     –" if step.packets is None else f"{step.packets:6}"
        chance = f"  [{step.share:.0%} of all]" if step.share is not None else ""
        comment = f"  # {step.comment}" if step.comment else ""
        mark = "▸" if (chain.id, step.number) in met else " "
        yield f"{indent} {mark}{packets}  {step.text}{chance}{comment}"
        for target in step.targets:
            if (*chain.key[:3], target) in every:
                yield from _describe_chain(every[(*chain.key[:3], target)], every, (f"{indent}          ", met), shown)
