"""What goes on by itself in a cluster while nobody calls it: looking after pods."""

from __future__ import annotations

import logging
import resource
import threading
import weakref
from typing import TYPE_CHECKING

from netlab.errors import ClosedError, LabError

if TYPE_CHECKING:
    from netlab.kubernetes.cluster import Cluster

_log = logging.getLogger(__name__)
#: Seconds between looks at processes and probes; probes have periods of a second or more.
INTERVAL = 0.2


def raise_file_limit() -> None:
    """Allow this program as many open files as it may have: each pod needs about eight, and the usual limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def look_after(cluster: Cluster) -> None:
    """Look after a cluster's pods from a thread, as long as it lives; the thread does not keep it alive."""
    stop = threading.Event()
    cluster.lab.on_close(stop.set)
    arguments = (weakref.ref(cluster, lambda _: stop.set()), stop)
    threading.Thread(target=_loop, args=arguments, name=f"look after {cluster.lab.name}", daemon=True).start()


def _loop(reference: weakref.ref[Cluster], stop: threading.Event) -> None:
    while not stop.wait(INTERVAL):
        cluster = reference()
        if cluster is None or cluster.lab.closed:
            return
        try:
            cluster.look_around()
        except ClosedError:
            return
        except (LabError, OSError):
            if stop.is_set():
                return
            _log.exception("looking after cluster %s failed; it goes on", cluster.lab.name)
        del cluster
