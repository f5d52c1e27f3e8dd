"""The files that build and start a container: what they allow, and what they pin."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "containers"

# The engine's own default: moby/profiles, seccomp/default.json, June 2026; without its comments, sorted.
DEFAULT_PROFILE = "17c55c34c130922ae929a18d0098e335719a51be61dee9c17ff20401974cbc75"
OURS = {"clone", "mount", "pivot_root", "sethostname", "setns", "umount2", "unshare"}
CLONE_NEWUSER = 0x10000000

Rule = dict[str, Any]


def profile() -> list[Rule]:
    """Read the rules that the container is started with."""
    rules: list[Rule] = json.loads((CONTAINERS / "seccomp.json").read_text())["syscalls"]
    return rules


def ours(rules: list[Rule]) -> list[Rule]:
    """Pick what netlab adds."""
    return [rule for rule in rules if rule.get("comment", "").startswith("netlab:")]


def canonical(rule: Rule) -> str:
    """Write a rule so that order, comments and empty fields make no difference."""
    kept = {key: value for key, value in rule.items() if key != "comment" and value}
    return json.dumps({**kept, "names": sorted(rule["names"])}, sort_keys=True)


def allows(rules: list[Rule], call: str, first_argument: int) -> bool:
    """Decide as libseccomp does on amd64 for a process without capabilities, from the rules that bear on it."""
    for rule in rules:
        includes, excludes = rule.get("includes", {}), rule.get("excludes", {})
        if call not in rule["names"] or "caps" in includes or rule["action"] != "SCMP_ACT_ALLOW":
            continue
        if "amd64" not in includes.get("arches", ["amd64"]) or "amd64" in excludes.get("arches", []):
            continue
        if all(matches(test, first_argument) for test in rule.get("args", [])):
            return True
    return False


def matches(test: dict[str, Any], argument: int) -> bool:
    """Compare one argument as seccomp(2) does."""
    value: int = test["value"]
    verdicts: dict[str, bool] = {
        "SCMP_CMP_EQ": argument == value,
        "SCMP_CMP_LT": argument < value,
        "SCMP_CMP_GT": argument > value,
        "SCMP_CMP_MASKED_EQ": argument & value == 0,
    }
    return verdicts[test["op"]]


def test_profile_without_our_rule_is_the_engines_default() -> None:
    """Nothing of the engine's own profile was dropped or loosened."""
    rules = [rule for rule in profile() if rule not in ours(profile())]
    digest = hashlib.sha256("\n".join(sorted(canonical(rule) for rule in rules)).encode()).hexdigest()
    assert digest == DEFAULT_PROFILE


def test_our_rule_names_seven_calls() -> None:
    """The design allows these calls and no other."""
    (rule,) = ours(profile())
    assert set(rule["names"]) == OURS
    assert len(rule["names"]) == len(OURS)


@pytest.mark.parametrize("argument", [0, CLONE_NEWUSER], ids=["no flags", "CLONE_NEWUSER"])
def test_our_rule_changes_the_verdict_on_these_calls_only(argument: int) -> None:
    """For a process without capabilities the two profiles differ in what makes and enters namespaces."""
    rules = profile()
    default = [rule for rule in rules if rule not in ours(rules)]
    calls = {name for rule in rules for name in rule["names"]}
    changed = {name for name in calls if allows(rules, name, argument) != allows(default, name, argument)}
    assert changed == (OURS if argument else OURS - {"clone"})


def test_profile_denies_what_it_does_not_name() -> None:
    """A filter that allows by default would be none."""
    document = json.loads((CONTAINERS / "seccomp.json").read_text())
    assert document["defaultAction"] == "SCMP_ACT_ERRNO"


def test_no_privilege_is_asked_for() -> None:
    """No file that starts the container asks for --privileged or for a capability."""
    for path in (CONTAINERS / "up", CONTAINERS / "compose.yaml", ROOT / ".devcontainer" / "devcontainer.json"):
        text = path.read_text()
        assert not re.search(r"privileged|cap[-_]add|seccomp=unconfined|SYS_ADMIN", text), path


def test_compose_starts_as_up_does() -> None:
    """The compose file has the same image, profile and address as ./containers/up."""
    service = yaml.safe_load((CONTAINERS / "compose.yaml").read_text())["services"]["lab"]
    assert service["image"] == "netlab"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["seccomp=seccomp.json", "systempaths=unconfined"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert (CONTAINERS / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_devcontainer_uses_the_same_image() -> None:
    """An editor's container is built and confined as the learner's is."""
    settings = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert (ROOT / ".devcontainer" / settings["build"]["dockerfile"]).resolve() == CONTAINERS / "Containerfile"
    assert "--cap-drop=ALL" in settings["runArgs"]
    assert settings["remoteUser"] == "learner"


def test_containerfile_builds_everywhere() -> None:
    """Docker's classic builder knows none of BuildKit's own syntax."""
    text = (CONTAINERS / "Containerfile").read_text()
    assert not re.search(r"^# *syntax=|--mount=|--chmod|--link|<<", text, re.MULTILINE)


def test_image_runs_as_an_ordinary_user() -> None:
    """The last USER of the last stage is the learner."""
    stage = (CONTAINERS / "Containerfile").read_text().split("\nFROM ")[-1]
    assert re.findall(r"^USER (.*)$", stage, re.MULTILINE) == ["learner"]
    assert "useradd --uid 1000" in stage


def lock_entries() -> dict[str, list[str]]:
    """Return the lock's two halves, each a list of entries with their hashes."""
    run, test = (CONTAINERS / "lock.txt").read_text().split("# --- only for the tests ---\n")
    split = re.compile(r"^(?=[a-z0-9])", re.MULTILINE)
    halves = {"run": split.split(run), "test": split.split(test)}
    return {half: [entry for entry in entries if "==" in entry] for half, entries in halves.items()}


def names(entries: list[str]) -> set[str]:
    """Return the packages of some entries."""
    return {entry.partition("==")[0] for entry in entries}


def test_lock_pins_and_hashes_each_package() -> None:
    """A package that changed under its name must not be installed."""
    for half in lock_entries().values():
        for entry in half:
            assert re.match(r"[a-z0-9-]+==[^ ]+( ; .*)? \\\n", entry), entry
            assert "--hash=sha256:" in entry, entry


def test_lock_names_no_host() -> None:
    """Each machine has its own way to the packages; the hashes say that they are the right ones."""
    assert not re.search(r"://|--index|--find-links|--extra", (CONTAINERS / "lock.txt").read_text())


def test_lock_has_every_dependency_in_its_half() -> None:
    """What is declared in pyproject.toml is locked: for a learner, or for the tests only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def declared(requirements: list[str]) -> set[str]:
        found = {re.split(r"[\[><=~! ;]", text)[0].lower().replace("_", "-") for text in requirements}
        return found - {project["name"]}

    halves = lock_entries()
    assert declared(project["dependencies"] + extras["build"]) <= names(halves["run"])
    assert declared(extras["test"] + extras["dev"]) <= names(halves["run"]) | names(halves["test"])
    assert not {"pytest", "playwright", "mypy"} & names(halves["run"])


def test_package_list_has_three_kinds() -> None:
    """Each line is one that up, test or Containerfile reads, in order and once."""
    lines = [line for line in (CONTAINERS / "packages.txt").read_text().splitlines() if not line.startswith("#")]
    pairs = [tuple(line.split()) for line in lines]
    assert {kind for kind, _ in pairs} == {"run", "venv", "test"}
    assert len({name for _, name in pairs}) == len(pairs)
    for kind in ("run", "test"):
        chosen = [name for line_kind, name in pairs if line_kind == kind]
        assert chosen == sorted(chosen)
