from __future__ import annotations

import ast
import importlib
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import netlab

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "netlab"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEXTS = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".ipynb", ".js", ".css", ".sh", ".txt", ""}
FOLDERS = ("netlab", "labs", "containers", "tests", ".ci", ".github", ".devcontainer")

#: From the ground up: a part imports only what stands in a line above its own.
HOUSE = (
    ("errors",),
    ("kernel", "workloads", "timeline"),
    ("server", "caller", "addressing", "interfaces", "firewall", "tracebacks"),
    ("host",),
    ("watch",),
    ("lab",),
    ("netlab",),
    ("view",),
    ("journey",),
    ("kubernetes",),
    ("course",),
    ("attach", "probes", "benches", "magics"),
    ("demo", "bench", "doctor"),
    ("cli",),
    ("__main__",),
)
#: Methods that hand over to a part above them, and look it up only when they are called.
HANDED_UP = {("lab", "view"), ("lab", "journey"), ("host", "view"), ("netlab", "magics")}

#: What belongs to the machine on which the project was written, and not to the project.
FOREIGN = re.compile(r"/work/|/opt/nl\b|/root/|/home/(?!learner|reader)\w+|r-seed-|issues show|\bSeed [0-9a-f]{6,}")
RECORDINGS = re.compile(r"\.\./shared(?!/conformance)")


def part_of(module: str) -> str:
    """Return the part of the house that a module belongs to."""
    names = module.split(".")
    return names[1] if len(names) > 1 else "netlab"


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the parts that a module imports, and whether it does so only inside of a function; types do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(each)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in node.body
        for each in ast.walk(child)
    }
    late = {
        id(each)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for each in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "netlab":
            for name in node.names:
                yield (name.name if is_part(name.name) else "netlab"), id(node) in late
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("netlab."):
            yield part_of(str(node.module)), id(node) in late
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.split(".")[0] == "netlab":
                    yield part_of(name.name), id(node) in late


def is_part(name: str) -> bool:
    """Tell whether a name is a module or package of netlab."""
    return (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    """A module imports only from parts of the house that stand below its own."""
    levels = {name: level for level, names in enumerate(HOUSE) for name in names}
    relative = path.relative_to(PACKAGE).with_suffix("")
    own = "netlab" if relative.parts == ("__init__",) else relative.parts[0]
    assert own in levels, f"netlab/{own} has no place in the house yet; give it one in HOUSE"
    wrong = [
        other
        for other, late in imports(path)
        if other != own and levels[other] >= levels[own] and not (late and (own, other) in HANDED_UP)
    ]
    assert not wrong, f"{relative} imports {', '.join(wrong)}, which stand beside or above it"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_fits_in_a_head(path: Path) -> None:
    """No module has more than 400 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_what_the_sandbox_runs_needs_no_packages() -> None:
    """The files of the sandbox's first process import the standard library and each other only."""
    for name in ("_start", "_init", "_calls", "_glances"):
        tree = ast.parse((PACKAGE / "kernel" / f"{name}.py").read_text(encoding="utf-8"))
        plain = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        found = {alias.name for node in plain if isinstance(node, ast.Import) for alias in node.names}
        found |= {str(node.module) for node in plain if isinstance(node, ast.ImportFrom)}
        assert not [module for module in found if module.split(".")[0] == "netlab"], name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_announced_is_there(path: Path) -> None:
    """Every name in a module's ``__all__`` exists, and stands there once."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    announced = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "__all__" for to in node.targets)
    ]
    if not announced:
        return
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    assert [name for name in announced[0] if not hasattr(module, name)] == []
    assert len(announced[0]) == len(set(announced[0]))


def test_the_package_announces_all_it_offers() -> None:
    """Everything public in `netlab` itself is in its ``__all__``, and is documented."""
    offered = {name: getattr(netlab, name) for name in netlab.__all__}
    assert all(value.__doc__ for value in offered.values())
    own = {
        name
        for name, value in vars(netlab).items()
        if not name.startswith("_") and str(getattr(value, "__module__", "")).startswith("netlab")
    }
    assert own <= set(offered)


@cache
def project_files() -> tuple[Path, ...]:
    """Return the project's own text files."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in TEXTS]
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            hidden = [name for name in path.parts if name.endswith("_cache") or name in {"__pycache__", "node_modules"}]
            if path.is_file() and path.suffix in TEXTS and not hidden and path != Path(__file__):
                found.append(path)
    return tuple(found)


def test_the_project_speaks_of_itself_alone() -> None:
    """No file names paths of the machine on which it was written, or what lies beside the project."""
    found = []
    for path in project_files():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if FOREIGN.search(line) or RECORDINGS.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", sorted((ROOT / "labs").rglob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_carry_no_outputs(path: Path) -> None:
    """A chapter is stored as its author wrote it: nothing was run, nothing was counted."""
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_each_test_says_what_it_shows(path: Path) -> None:
    """Every test has one sentence that says the behaviour."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not silent
