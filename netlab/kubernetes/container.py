"""The containers of a pod: processes in the pod's namespaces, with their output kept and their end noticed."""

from __future__ import annotations

import os
import socket
import time
import weakref
from typing import TYPE_CHECKING, Any

from netlab.errors import CommandError
from netlab.kubernetes.store import now
from netlab.kubernetes.workloads import programs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netlab.host import Host
    from netlab.kernel.process import Process
    from netlab.kubernetes.workloads import Program

#: Seconds until a program that opens ports has opened them.
PATIENCE = 10.0
_POLL = 0.003
_READY = b"ready\n"
_LONGEST_BACKOFF = 60.0
#: The exit status of what was killed: 128 and SIGKILL.
_KILLED = 137


class Container:
    """One container: it runs one process, or one for each port of the built-in echo server."""

    def __init__(self, spec: Mapping[str, Any], pod: str, host: Host) -> None:
        """Prepare; `start` starts it."""
        self.spec, self.name, self.host = spec, spec["name"], host
        self._programs = programs(spec, pod, f"/run/pods/{host.name}/{spec['name']}")
        self._log = os.memfd_create(f"log of {self.name}", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self._log)
        self.processes: list[Process] = []
        self.restarts = 0
        self.started_at = self.finished_at = ""
        self.exit_code: int | None = None
        self.problem = ""
        #: What the readiness probe said last; true where there is none.
        self.passing = spec.get("readinessProbe") is None
        self._again = 0.0
        self._last: dict[str, Any] = {}

    @property
    def running(self) -> bool:
        """Tell whether all its processes run."""
        return bool(self.processes) and self.exit_code is None

    @property
    def ready(self) -> bool:
        """Tell whether it runs and its probe passes."""
        return self.running and self.passing

    def logs(self) -> str:
        """Return all it has printed."""
        return os.pread(self._log, os.fstat(self._log).st_size, 0).decode(errors="replace")

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it, and wait until the ports of a built-in server are open."""
        self.exit_code, self.problem, self.started_at = None, "", now()
        announced = self._printed().count(_READY)
        try:
            self.processes = [self._launch(program, environment) for program in self._programs]
            self._await(announced + sum(program.announces for program in self._programs))
        except CommandError as error:
            self._fail(127, str(error))

    def _launch(self, program: Program, environment: Mapping[str, str]) -> Process:
        if not program.stdin:
            return self.host.popen(*program.argv, stdout=self._log, stderr=self._log, env=environment)
        config = os.memfd_create("standard input", os.MFD_CLOEXEC)
        try:
            os.write(config, program.stdin.encode())
            os.lseek(config, 0, os.SEEK_SET)
            return self.host.popen(*program.argv, stdin=config, stdout=self._log, stderr=self._log, env=environment)
        finally:
            os.close(config)

    def _await(self, announcements: int) -> None:
        deadline = time.monotonic() + PATIENCE
        waiting = [port for program in self._programs if not program.announces for port in program.ports]
        while self.poll() is None and time.monotonic() < deadline:
            waiting = [port for port in waiting if not self._is_open(*port)]
            if not waiting and self._printed().count(_READY) >= announcements:
                return
            time.sleep(_POLL)  # a program that opens a port tells nobody

    def _is_open(self, protocol: str, port: int) -> bool:
        if protocol != "tcp":
            return True
        (sock,) = self.host.lab.sandbox.sockets([self.host.name], (socket.AF_INET, socket.SOCK_STREAM, 0))
        with sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    def _printed(self) -> bytes:
        return os.pread(self._log, 1 << 16, 0)

    def poll(self) -> int | None:
        """Return its exit status if it has ended: a container ends when one of its processes does."""
        if self.exit_code is None:
            ended = [process.returncode for process in self.processes if process.poll() is not None]
            if ended:
                code = next((code for code in ended if code), 0) or 0
                self._fail(code if code >= 0 else 128 - code, "")
        return self.exit_code

    def _fail(self, code: int, problem: str) -> None:
        self.exit_code, self.problem, self.finished_at = code, problem, now()
        self._kill()
        self._again = time.monotonic() + min(2.0**self.restarts, _LONGEST_BACKOFF)

    def restart_if_due(self, policy: str, environment: Mapping[str, str]) -> bool:
        """Start it again after it ended, if the pod's restart policy says so; the pauses double."""
        if not self._restarts(policy) or time.monotonic() < self._again:
            return False
        self._last = self._terminated()
        self.restarts += 1
        self.start(environment)
        return True

    def _restarts(self, policy: str) -> bool:
        return self.exit_code is not None and (policy == "Always" or (policy == "OnFailure" and self.exit_code != 0))

    def _terminated(self) -> dict[str, Any]:
        fields = {"exitCode": self.exit_code, "reason": "Completed" if self.exit_code == 0 else "Error"}
        times = {"startedAt": self.started_at, "finishedAt": self.finished_at}
        return {"terminated": {**fields, **times, **({"message": self.problem} if self.problem else {})}}

    def end(self) -> None:
        """End it as a kubelet ends what is left of a pod whose sandbox is gone."""
        if self.exit_code is None:
            self._fail(_KILLED, "")

    def _kill(self) -> None:
        for process in self.processes:
            process.kill()

    def stop(self, grace: float = 2.0) -> None:
        """Ask its processes to end, and end them where they do not within ``grace`` seconds."""
        for process in self.processes:
            process.terminate()
        deadline = time.monotonic() + grace
        for process in self.processes:
            try:
                process.wait(max(deadline - time.monotonic(), 0.0))
            except CommandError:
                process.close()

    def status(self, policy: str) -> dict[str, Any]:
        """Return what Kubernetes shows of it (containerStatuses); ``policy`` is the pod's restart policy."""
        last = self._last
        if self.running:
            state: dict[str, Any] = {"running": {"startedAt": self.started_at}}
        elif self.exit_code is None:
            state = {"waiting": {"reason": "ContainerCreating"}}
        elif self.restarts and self._restarts(policy):
            # As the kubelet has it from the second end on: it waits, ever longer, and what was is the last state.
            words = f"back-off restarting failed container {self.name}"
            state, last = {"waiting": {"reason": "CrashLoopBackOff", "message": words}}, self._terminated()
        else:
            state = self._terminated()
        return {
            "containerID": f"netlab://{self.host.namespace.inode:x}-{self.name}-{self.restarts}",
            "image": self.spec["image"],
            "imageID": "",
            "lastState": last,
            "name": self.name,
            "ready": self.ready,
            "restartCount": self.restarts,
            "started": self.running,
            "state": state,
        }
