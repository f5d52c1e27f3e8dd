"""A real ipykernel in a process of its own, driven over its sockets as JupyterLab does."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.manager import KernelManager

import netlab

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30.0


@dataclass
class Cell:
    """What a cell showed: each output with the seconds since the cell started, and the kernel's reply."""

    outputs: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    reply: dict[str, Any] = field(default_factory=dict)
    ident: str = ""

    @property
    def text(self) -> str:
        """Return what was printed."""
        return "".join(content["text"] for _, kind, content in self.outputs if kind == "stream")

    @property
    def error(self) -> str:
        """Return the error as a reader sees it, or nothing."""
        return "\n".join("\n".join(content["traceback"]) for _, kind, content in self.outputs if kind == "error")

    def time_of(self, text: str) -> float:
        """Return when the output first contained a text."""
        seen = ""
        for moment, kind, content in self.outputs:
            seen += content["text"] if kind == "stream" else ""
            if text in seen:
                return moment
        pytest.fail(f"{text!r} was never printed, only {seen!r}")


class Kernel:
    """A running ipykernel with its client."""

    def __init__(self, home: Path) -> None:
        source = str(Path(netlab.__file__).parents[1])
        self.environment = os.environ | {"PYTHONPATH": source}
        self.manager = KernelManager(kernel_name="python3", connection_file=str(home / "kernel.json"))
        self.manager.start_kernel(env=self.environment, cwd=str(home))
        self.client = self.manager.client()
        #: What was printed under cells that had ended already, by the cell's id.
        self.late: dict[str, str] = {}
        self.connect()

    def connect(self) -> None:
        """Wait until the kernel answers."""
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    @property
    def pid(self) -> int:
        """Return the kernel's process id."""
        return int(self.run("import os; print(os.getpid())").text)

    def run(
        self,
        code: str,
        *,
        on_text: Callable[[str], object] | None = None,
        on_start: Callable[[], object] | None = None,
    ) -> Cell:
        """Run a cell to its end; ``on_text`` is called with all that was printed so far, each time more comes.

        ``on_start`` is called when the kernel has begun with it.
        """
        start = time.monotonic()
        message = self.client.execute(code)
        cell = Cell(ident=message)
        while True:
            try:
                answer = self.client.get_iopub_msg(timeout=PATIENCE)
            except Empty:
                pytest.fail(f"the cell did not end within {PATIENCE:g} s; it printed {cell.text!r}")
            kind, content = answer["msg_type"], answer["content"]
            if (parent := answer["parent_header"].get("msg_id")) != message:
                if kind == "stream":
                    self.late[parent] = self.late.get(parent, "") + content["text"]
                continue
            if kind == "status" and content["execution_state"] == "idle":
                break
            if kind == "execute_input" and on_start is not None:
                on_start()
            if kind in {"stream", "error", "display_data", "execute_result"}:
                cell.outputs.append((time.monotonic() - start, kind, content))
                if on_text is not None:
                    on_text(cell.text)
        cell.reply = self._reply(message)
        return cell

    def _reply(self, message: str) -> dict[str, Any]:
        """Return the reply to a message; one to an earlier question, such as whether it is ready, may come before."""
        while True:
            answer = self.client.get_shell_msg(timeout=PATIENCE)
            if answer["parent_header"].get("msg_id") == message:
                return dict(answer["content"])

    def complete(self, code: str) -> list[str]:
        """Return what is offered behind the last character."""
        matches = self.client.complete(code, reply=True, timeout=PATIENCE)["content"]["matches"]
        return [str(match) for match in matches]

    def restart(self) -> None:
        """Restart the kernel, as the menu does, and wait until the new one answers."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self.client = self.manager.client()
        self.connect()

    def close(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
