"""Connections from a host: one that stays open, and many at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from netlab import InvalidInputError

if TYPE_CHECKING:
    from netlab import Host

pytestmark = pytest.mark.kernel


def test_a_call_stays_open_and_says_how_it_ended(pair: tuple[Host, Host]) -> None:
    """Two requests come from one port of the caller; when the server ends, the next one gets no answer."""
    red, blue = pair
    server = blue.serve(80)
    with red.call("10.0.0.2", 80) as call:
        first, second = call.ask(), call.ask()
        assert first is not None
        assert second is not None
        assert (first["server"], first["client_address"]) == ("blue", "10.0.0.1")
        assert first["client_port"] == second["client_port"]
        server.close()
        assert call.ask() is None
        assert call.state in {"hung up", "reset"}
    assert call.ask() is None
    with blue.serve(80), red.call("fd00::2", 80) as call:
        assert call.ask() is not None
    assert call.state == "closed"


def test_a_call_that_nobody_takes(pair: tuple[Host, Host]) -> None:
    """A closed port refuses at once; a rule that drops is silence, no longer than one waits."""
    red, blue = pair
    assert red.call("10.0.0.2", 81).state == "refused"
    blue.iptables("-A", "INPUT", "-p", "tcp", "--dport", "82", "-j", "DROP")
    begin = time.monotonic()
    assert red.call("10.0.0.2", 82, patience=0.3).state == "silence"
    assert 0.2 < time.monotonic() - begin < 1
    blue.iptables("-A", "INPUT", "-p", "tcp", "--dport", "83", "-j", "REJECT", "--reject-with", "tcp-reset")
    assert red.call("10.0.0.2", 83).state == "refused"
    with pytest.raises(InvalidInputError):
        red.call("nobody", 80)


def test_many_calls_are_counted_by_who_answers(pair: tuple[Host, Host]) -> None:
    """More than fit at once; each is a connection of its own, and those that fail are told apart."""
    red, blue = pair
    refuse = ("REJECT", "--reject-with", "tcp-reset")
    rule = ("-p", "tcp", "--dport", "80", "--syn", "-m", "statistic", "--mode", "nth", "--packet", "0", "--every")
    with blue.serve(80):
        assert red.count_answers("10.0.0.2", 80, 250) == {"blue": 250}
        waiting = [each.run("ss", "-Htan", "state", "time-wait").stdout for each in (red, blue)]
        assert waiting == ["", ""], "nothing of them is left"
        blue.iptables("-A", "INPUT", *rule, "5", "-j", *refuse)
        assert red.count_answers("10.0.0.2", 80, 100) == {"blue": 80, "refused": 20}
        blue.iptables("-R", "INPUT", "1", *rule, "4", "-j", "DROP")
        assert red.count_answers("10.0.0.2", 80, 100, patience=0.5) == {"blue": 75, "silence": 25}
    assert red.count_answers("10.9.9.9", 80, 3) == {"refused": 3}
