"""Build labs in child processes and kill each at a random instant; print what is left of it on the machine.

A program of its own, so that the children start with netlab imported and nothing else: `python killed_labs.py SEED…`.
Prints a line of JSON for each seed.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import select
import signal
import sys
import time
from typing import NoReturn

import fingerprint

from netlab import Lab

PR_SET_CHILD_SUBREAPER = 36
HOSTS = 50
#: Seconds within which the child is killed: from before its sandbox exists to after all is built.
LONGEST = 0.35


def build() -> NoReturn:
    """Build hosts with cables, commands and daemons that left their parents, and stay."""
    os.setpgid(0, 0)
    with open(os.devnull, "w") as nothing:  # noqa: PTH123 - a descriptor for stderr
        os.dup2(nothing.fileno(), 2)  # what a killed program prints is not of interest
    lab = Lab("killed")
    hub = lab.add_host("hub")
    hub.add_bridge("br0")
    lab.watch(lambda _: None)
    for number in range(HOSTS):
        host = lab.add_host(f"h{number}")
        lab.connect(hub, host, None, f"10.9.0.{number + 1}/16", names=(f"p{number}", "eth0"))
        hub.add_port("br0", f"p{number}")
        if number % 5 == 0:
            host.popen("sleep", "1000")
            # A daemon: two forks, its own session, its streams closed.
            host.run("sh", "-c", "setsid sh -c 'sleep 1000 & sleep 1000' >/dev/null 2>&1 </dev/null &")
    while True:
        signal.pause()


def kill_one(seed: int, before: fingerprint.Fingerprint) -> dict[str, object]:
    """Start a child, kill it at the instant that the seed says, and return what differs when all should be gone."""
    moment = random.Random(seed).uniform(0, LONGEST)  # noqa: S311 - chance, not secrecy
    child = os.fork()
    if child == 0:
        build()
    end = os.pidfd_open(child)
    early = select.select([end], [], [], moment)[0]
    os.close(end)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    began = time.monotonic()
    left = fingerprint.wait_for_same(before)
    took = time.monotonic() - began
    while True:  # orphans of the child are ours now, for this program asked for them
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                break
        except ChildProcessError:
            break
    left += "" if not early else "the child ended before it was killed"
    return {"seed": seed, "moment": round(moment, 4), "seconds": round(took, 3), "left": left}


def main() -> None:
    """Kill one child for each seed given."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = fingerprint.take()
    for seed in sys.argv[1:]:
        print(json.dumps(kill_one(int(seed), before)), flush=True)  # noqa: T201 - the answer to the test


if __name__ == "__main__":
    main()
