"""Print a journey for a terminal: one line for each step, request and answer apart, the drop last."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from netlab.journey.walk import TUNNEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab.journey.values import Journey, Step

WIDTH = 110
#: Where long rules begin, on lines of their own.
INDENT = 24
#: A space at which no line is broken.
_TOGETHER = "\u00a0"
_COMMENT = re.compile(r'-m comment --comment ("[^"]*"|\S+) ?')
_MARKS = {"in": "→", "out": "→", "wrap": "⊞", "unwrap": "⊟", "socket": "●", "drop": "✕", "route": "·", "conntrack": "◆"}


def render(journey: Journey) -> str:
    """Return a journey as text of at most 110 columns."""
    return "\n".join(line.rstrip() for line in _lines(journey))


def _lines(journey: Journey) -> Iterator[str]:
    port = f" port {journey.port}" if journey.port else ""
    yield f"Journey of a {journey.protocol} packet from {journey.client} to {journey.destination}{port}"
    part = ("", "")
    flow = ""
    width = max((len(step.host) for step in journey.steps), default=4)
    widths = (width, min(max((len(_place(step)) for step in journey.steps), default=12), 34))
    for step in journey.steps:
        if step.kind == "drop":
            continue
        if (step.leg, step.packet) != part:
            part, flow = (step.leg, step.packet), ""
            yield ""
            yield f"{'Request' if step.leg == 'request' else 'Reply'}: {step.packet}"
        shown = str(step.after) if step.after is not None else ""
        if step.rewritten or (shown != flow and step.kind in {"in", "out", "wrap", "unwrap"}):
            yield from _step(step, widths, _flow(step))
        elif not step.verdict.endswith(TUNNEL):
            yield from _step(step, widths, "")
        elif not step.verdict.startswith("jump"):
            # Of the packet around ours, what decided is told; all the rest is in journey.steps.
            yield from _step(step, widths, "")
        flow = shown
    yield ""
    yield from _end(journey)


def _flow(step: Step) -> str:
    if not step.rewritten:
        return str(step.after)
    assert step.before is not None  # noqa: S101 - for the type checker
    assert step.after is not None  # noqa: S101
    changes = []
    for word, side in (("source", "from_text"), ("destination", "to_text")):
        old, new = getattr(step.before, side), getattr(step.after, side)
        changes += [f"{word} {old} ⇒ {new}"] if old != new else []
    return ", ".join(changes)


def _step(step: Step, widths: tuple[int, int], flow: str) -> Iterator[str]:
    mark = "◆" if step.rewritten else _MARKS.get(step.kind) or _decision(step)
    number = f"{step.number:>3}" if step.observed else f"({step.number})".rjust(4)[-4:]
    place = _place(step)
    head = f"{number:<4}{step.offset_ns / 1e6:8.3f} ms  {mark} {step.host:<{widths[0]}}  {place:<{widths[1]}}  "
    words = [step.verdict] if step.kind not in {"in", "out"} or step.verdict not in {"sent", "received"} else []
    outer = f"[{step.outer}]" if step.outer is not None else ""
    ttl = f"TTL {step.after.ttl}" if step.after is not None and step.kind in {"in", "out"} and step.after.ttl else ""
    mark = ""
    if step.before is not None and step.after is not None and step.before.mark != step.after.mark:
        mark = f"mark {step.before.mark:#x} ⇒ {step.after.mark:#x}"
    counted = f"[{step.counter}]".replace(" ", _TOGETHER) if step.counter is not None else ""
    tail = "  ".join(word for word in (*words, flow, mark, ttl, outer) if word)
    reason = _words(step.rule) if step.kind in {"rule", "route", "socket", "wrap", "unwrap"} else step.conntrack
    reason = f"{'' if reason == step.verdict else reason}  {counted}".strip()
    room = max(WIDTH - len(head), 24)
    if len(tail) + len(reason) + 2 <= room:
        tail, reason = "  ".join(word for word in (tail, reason) if word), ""
    first, *more = _wrap(tail, room)
    yield head + first
    for line in more:
        yield " " * len(head) + line
    for line in _wrap(reason, WIDTH - INDENT) if reason else []:
        yield " " * INDENT + line


def _decision(step: Step) -> str:
    """Return the mark of a rule or a policy, by what it decided."""
    if step.kind not in {"rule", "policy"}:
        return " "
    return "✕" if any(word in step.verdict for word in ("DROP", "REJECT")) else "✓"


def _words(rule: str) -> str:
    """Return a rule with its comment behind it."""
    comments = _COMMENT.findall(rule)
    return "  # ".join([_COMMENT.sub("", rule).strip(), *(comment.strip('"') for comment in comments)])


def _wrap(text: str, room: int) -> list[str]:
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_TOGETHER, " ") for line in lines] or [""]


def _place(step: Step) -> str:
    if step.kind in {"in", "out", "wrap", "unwrap"}:
        arrow = "out" if step.kind in {"out", "wrap"} else "in"
        return f"{step.interface} {arrow}"
    if step.table:
        number = f" #{step.position}" if step.position else ""
        return f"{step.table} {step.chain}{number}"
    return step.hook


def _end(journey: Journey) -> Iterator[str]:
    for answer in journey.answers if sum(answer.count for answer in journey.answers) > 1 else ():
        yield f"answered {answer.count} times: {answer.host} ({answer.address})"
    for note in journey.notes:
        yield from textwrap.wrap(f"note: {note}", WIDTH, subsequent_indent="      ")
    drop = journey.drop
    if drop is None:
        yield f"✓ {'an answer came back to ' + journey.client if journey.ok else 'the request arrived'}"
        return
    what = "the reply" if drop.leg == "reply" else "the request"
    deduced = " (deduced)" if drop.deduced else ""
    counted = f"; its counter: {drop.counter}" if drop.counter is not None else ""
    where = f"✕ {drop.step} {what} ({drop.packet}) was dropped in {drop.host}: "
    yield from textwrap.wrap(
        f"{where}{drop.reason}{counted}{deduced}", WIDTH, subsequent_indent="  ", break_on_hyphens=False
    )
