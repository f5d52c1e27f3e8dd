"""What a reader sees when netlab says no, in a real ipykernel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from ipykernel_driver import Kernel

from netlab.tracebacks import until_the_readers_last_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.notebook, pytest.mark.kernel]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """Return a kernel with a lab and a function of the reader's."""
    folder: Path = tmp_path_factory.mktemp("tracebacks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        kernel = Kernel(folder)
    cell = kernel.run(
        "%load_ext netlab\nfrom netlab import Lab\nlab = Lab('short')\ndef add(name):\n    return lab.add_host(name)"
    )
    assert cell.reply["status"] == "ok", cell.error
    yield kernel
    kernel.close()


def plain(text: str) -> str:
    """Return a text without the colours of a terminal."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_an_error_of_netlab_shows_the_readers_lines_only(kernel: Kernel) -> None:
    """The line of the cell, the line of the reader's function, and the message; nothing of netlab's inside."""
    shown = plain(kernel.run("add('no spaces, please')").error)
    assert "add('no spaces, please')" in shown
    assert "return lab.add_host(name)" in shown
    assert "InvalidInputError" in shown
    assert "check.py" not in shown
    assert len(shown.splitlines()) < 25


def test_what_led_to_it_is_left_out(kernel: Kernel) -> None:
    """An error that another one caused is shown without that one."""
    shown = kernel.run("lab.host('nobody')").error
    assert "NotFoundError" in shown
    assert "During handling" not in shown
    assert "direct cause" not in shown


def test_verbose_shows_all(kernel: Kernel) -> None:
    """Who wants the inside gets it."""
    assert kernel.run("%xmode Verbose").reply["status"] == "ok"
    assert "check.py" in kernel.run("lab.add_host('no spaces, please')").error
    assert kernel.run("%xmode Context").reply["status"] == "ok"


def test_other_errors_are_as_ever(kernel: Kernel) -> None:
    """An error that is not netlab's is IPython's affair."""
    assert "ZeroDivisionError" in kernel.run("1 / 0").error
    assert "get_loc" not in kernel.run("{}['x']").error


def test_a_traceback_without_the_readers_lines_stays_whole() -> None:
    """Nothing is cut where nothing of it is the reader's."""
    assert until_the_readers_last_line(None) is None
