"""Run CNI plugins in a node: ADD, DEL, CHECK, GC, STATUS, VERSION (CNI specification, sections 2 to 4)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlab.errors import CommandError
from netlab.kubernetes.cni.cache import Cache
from netlab.kubernetes.cni.config import Attachment, NetworkList, derive
from netlab.kubernetes.cni.results import CniError, Result, read_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netlab.host import Host
    from netlab.kubernetes.cni.config import PluginConfig

#: Where plugins are looked for: Debian's, then those that other distributions and installers have.
PLUGIN_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
#: Seconds that a plugin may take.
TIMEOUT = 30.0


class Runtime:
    """Attaches namespaces to networks, on one node, by running plugin executables in the node's own namespace.

    Results are kept in files inside the lab, below ``folder``, and are handed to DEL and CHECK.
    Calls for different containers may be made side by side; those for one container may not (section 2).
    """

    def __init__(self, host: Host, *, path: Sequence[str] = PLUGIN_FOLDERS, folder: str = "") -> None:
        """Run plugins in ``host``; ``path`` are the folders to find them in, the first that has one counts."""
        self.host = host
        self.path = tuple(path)
        self.folder = folder or f"/run/cni/{host.name}"
        self.cache = Cache(host, f"{self.folder}/results")

    # -- operations ---------------------------------------------------------------

    def add(self, network: NetworkList, attachment: Attachment) -> Result:
        """Attach: run the plugins in order, each with the result of the one before; return the last result.

        Where one fails, those that ran are told to undo (DEL), and its error is raised: CniError.
        """
        previous: Mapping[str, Any] | None = None
        try:
            for plugin in network.plugins:
                printed = self._run("ADD", plugin, attachment, derive(network, plugin, attachment, previous))
                previous = self._object(plugin.type, printed)
                result = Result.read(previous)
        except CniError:
            self._undo(network, attachment, previous)
            raise
        self.cache.store(network, attachment, result)
        return result

    def _undo(self, network: NetworkList, attachment: Attachment, previous: Mapping[str, Any] | None) -> None:
        if self.cache.load(network, attachment) is not None:
            return  # it was attached before, and adding it again was the mistake
        for plugin in reversed(network.plugins):
            try:
                self._run("DEL", plugin, attachment, derive(network, plugin, attachment, previous))
            except CniError:
                continue  # the error of ADD is the one to report

    def delete(self, network: NetworkList, attachment: Attachment) -> None:
        """Detach: run the plugins in reverse order, with the result of ADD; may be called twice."""
        previous = self.cache.load(network, attachment) if network.at_least("0.4.0") else None
        for plugin in reversed(network.plugins):
            self._run("DEL", plugin, attachment, derive(network, plugin, attachment, previous))
        self.cache.remove(network, attachment)

    def check(self, network: NetworkList, attachment: Attachment) -> None:
        """Ask each plugin in order whether all is as ADD left it; raises CniError with what is not.

        Does nothing where the list says ``disableCheck``. Versions before 0.4.0 have no CHECK.
        """
        if not network.at_least("0.4.0"):
            text = f"network {network.name!r} has version {network.version}"
            raise CniError(1, "CHECK needs version 0.4.0 or newer", text, command="CHECK")
        if network.disable_check:
            return
        previous = self.cache.load(network, attachment)
        for plugin in network.plugins:
            self._run("CHECK", plugin, attachment, derive(network, plugin, attachment, previous))

    def gc(self, network: NetworkList, valid: Sequence[Attachment]) -> None:
        """Let the plugins give up what belongs to no attachment in ``valid`` (version 1.1).

        As in libcni, attachments that are cached and no longer valid are deleted first. All plugins are asked, and
        then the first error is raised.
        """
        if network.disable_gc:
            return
        kept = {(each.container_id, each.ifname) for each in valid}
        errors: list[CniError] = []
        for attachment in self.cache.attachments(network):
            if (attachment.container_id, attachment.ifname) not in kept:
                self._collect(errors, self.delete, network, attachment)
        if network.at_least("1.1.0"):
            for plugin in network.plugins:
                config = derive(network, plugin, None, valid=valid)
                self._collect(errors, self._run, "GC", plugin, None, config)
        if errors:
            raise errors[0]

    @staticmethod
    def _collect(errors: list[CniError], action: Any, *arguments: Any) -> None:
        try:
            action(*arguments)
        except CniError as error:
            errors.append(error)

    def status(self, network: NetworkList) -> None:
        """Ask whether ADD would work now; raises CniError, code 50 or 51 where not. No-op before version 1.1."""
        if network.at_least("1.1.0"):
            for plugin in network.plugins:
                self._run("STATUS", plugin, None, derive(network, plugin, None))

    def versions(self, kind: str) -> tuple[str, ...]:
        """Return the versions that a plugin speaks (VERSION)."""
        printed = self.execute(kind, {"CNI_COMMAND": "VERSION"}, json.dumps({"cniVersion": "1.0.0"}))
        return tuple(self._object(kind, printed).get("supportedVersions") or ())

    # -- one plugin ------------------------------------------------------------------

    def _run(
        self,
        command: str,
        plugin: PluginConfig,
        attachment: Attachment | None,
        config: Mapping[str, Any],
    ) -> str:
        environment = {"CNI_COMMAND": command, "CNI_PATH": os.pathsep.join(self.path)}
        if attachment is not None:
            environment |= {
                "CNI_CONTAINERID": attachment.container_id,
                "CNI_NETNS": attachment.netns,
                "CNI_IFNAME": attachment.ifname,
            }
            if attachment.args:
                environment["CNI_ARGS"] = ";".join(f"{key}={value}" for key, value in attachment.args.items())
        return self.execute(plugin.type, environment, json.dumps(config))

    def execute(self, kind: str, environment: Mapping[str, str], config: str) -> str:
        """Run a plugin as it stands, and return what it printed; raises CniError with what it refused."""
        command = environment.get("CNI_COMMAND", "")
        try:
            result = self.host.run(self.find(kind), input=config, env=environment, timeout=TIMEOUT)
        except CommandError as error:
            raise CniError(5, f"the plugin could not be run: {error}", plugin=kind, command=command) from None
        if not result.ok:
            refusal = read_error(result.stdout, result.stderr)
            raise CniError(refusal.code, refusal.msg, refusal.details, plugin=kind, command=command)
        return result.stdout

    def find(self, kind: str) -> str:
        """Return the path of a plugin's executable; raises CniError (code 5) with where it was looked for."""
        for folder in self.path:
            file = Path(folder) / kind
            if file.is_file() and os.access(file, os.X_OK):
                return str(file)
        advice = "Debian's are in the package containernetworking-plugins"
        raise CniError(5, f"no plugin {kind!r} in {', '.join(self.path)}", advice, plugin=kind)

    @staticmethod
    def _object(kind: str, printed: str) -> dict[str, Any]:
        try:
            data = json.loads(printed)
        except ValueError:
            raise CniError(6, "the plugin printed no JSON", printed[:200], plugin=kind) from None
        if not isinstance(data, dict):
            raise CniError(6, "the plugin printed no JSON object", printed[:200], plugin=kind)
        return data
