"""The runtime gets from the real plugins what the real runtime got: recorded calls, compared answer by answer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from netlab.kubernetes.cni.transcripts import RECORDED, STEPS, run_transcripts

RECORDINGS = Path(__file__).parents[3] / "shared" / "conformance"

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(
        not (RECORDINGS / "cni" / RECORDED).is_dir(),
        reason="the recordings of conformance/cni are not beside this checkout",
    ),
]


def test_every_recorded_step_goes_as_recorded() -> None:
    """ADD, CHECK, ADD again, STATUS, DEL, DEL again, CHECK after DEL, GC, VERSION, and six bad calls."""
    suite = run_transcripts(RECORDINGS)
    if suite.unrecorded:
        pytest.skip(suite.unrecorded[0])
    assert not suite.failing, suite
    assert suite.total == STEPS


def test_each_step_can_differ(tmp_path: Path) -> None:
    """Other words, other rules and other files in a recording are differences in just these steps."""
    folder = tmp_path / "cni" / RECORDED
    folder.mkdir(parents=True)
    for path in (RECORDINGS / "cni" / RECORDED).iterdir():
        shutil.copyfile(path, folder / path.name)
    (folder / "iptables.txt").write_text("-A INPUT -j DROP\n")
    (folder / "5-del.err").write_text("no\n")
    (folder / "7-check-after-del.err").write_text("no\n")
    (folder / "hostlocal-after.txt").write_text("lab/10.244.1.9\n")
    (folder / "14-bad-ifname.out").write_text('{"code": 99, "msg": ""}')
    suite = run_transcripts(tmp_path)
    if suite.unrecorded:
        pytest.skip(suite.unrecorded[0])
    assert suite.failing == ["1-add", "5-del", "7-check-after-del", "8-gc", "14-bad-ifname"]
