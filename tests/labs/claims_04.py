"""What the prose of chapter 04 says about the output of its cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chapters import Run

ADDRESS = re.compile(r"10\.244\.1\.\d+")


def claims(done: Run) -> None:
    """Check them."""
    assert "exec sleep infinity" in done.text("images-list")
    spaces = [line.split() for line in done.text("spaces").splitlines()]
    assert [kind for kind, ours, theirs in spaces if ours != theirs] == ["net", "uts", "ipc"]
    assert [kind for kind, ours, theirs in spaces if ours == theirs] == ["pid", "mnt", "cgroup"]
    assert re.findall(r"^\d+: (\w+):.*state (\w+)", done.text("empty"), flags=re.MULTILINE) == [("lo", "DOWN")]
    assert "1 received" in done.text("cable-inside")
    refusals = re.findall(r"connect to (\S+) port 8080", done.text("whose-localhost"))
    assert refusals == ["127.0.0.1", "10.244.1.2"]
    assert done.text("whose-localhost").count('"server": "shop"') == 1
    assert '"client_address": "127.0.0.1"' in done.text("proxy")
    rows = re.findall(r"^ *\d+ +(\d+) ", done.text("together"), flags=re.MULTILINE)
    assert len(set(rows[:3])) == 1
    assert rows[3] not in rows[:3]
    assert "tcp port 80: Address already in use" in done.text("port-twice-try")
    assert len(re.findall(r"^LISTEN", done.text("port-twice-try"), flags=re.MULTILINE)) == 1
    assert "no: the second one is refused" in done.text("decide")
    assert "0.0.0.0:80" in done.text("other-pod")
    assert done.text("reuse-cell").split()[-1] == "2"
    assert "no app on 127.0.0.1:8080: Connection refused" in done.text("crash")
    assert ADDRESS.findall(done.text("crash")) == ["10.244.1.2"]
    assert '"server": "shop"' in done.text("restart")
    assert '"server": "shop"' in done.text("held-by-containers")
    assert "No such file or directory" in done.text("held-by-containers")
    assert re.findall(r"^(\S+) ", done.text("held-by-nobody"), flags=re.MULTILINE) == ["lo"]
    assert re.findall(r"^(\S+) ", done.text("named"), flags=re.MULTILINE) == ["lo"]
    assert done.text("hostname").split() == ["shop", "node"]
    container = done.text("container")
    assert "I am process 1 on shop" in container
    assert re.findall(r"^ +(\d+) \S+ +\S+ +\S+ (\w+)", container, flags=re.MULTILINE)[0] == ("1", "bash")
    assert len(re.findall(r"^ +\d+ ", container, flags=re.MULTILINE)) == 2
    assert container.split()[-2:] == ["of-the-container", "0"]
    assert "one cgroup" in done.text("cgroup")
    assert all(line.endswith(":/") for line in done.text("cgroup").splitlines()[1:])
    assert len(set(re.findall(r"^ *\d+ +(\d+) ", done.text("cluster-shared"), flags=re.MULTILINE))) == 1
    assert '"server": "shop"' in done.text("cluster-shared")
    assert "shop: 127.0.0.1 asked for" in done.text("cluster-shared")
    assert re.search(r"^twice +1/2 ", done.text("cluster-twice-cell"), flags=re.MULTILINE)
    assert "Address already in use" in done.text("cluster-twice-cell")
    before, after = ADDRESS.findall(done.text("pause-killed-cell"))
    assert before != after
    assert re.findall(r"Running +(\d+)", done.text("pause-killed-cell"))[0] == "0"
    assert int(re.findall(r"Running +(\d+)", done.text("pause-killed-cell"))[1]) > 0
    assert "SandboxChanged" in done.text("pause-killed-events")
