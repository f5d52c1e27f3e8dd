from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from netlab.errors import InvalidInputError
from netlab.kernel import values
from netlab.kernel.serial import from_json, to_json
from netlab.kernel.values import Connection, HostState, IPAddress, Route, Snapshot


#: Any Snapshot that the types allow, also such as no kernel would give.
def complete(kind: Any, **given: Any) -> st.SearchStrategy[Any]:
    """Return a strategy that also fills the fields that have defaults."""
    return st.builds(kind, **({field.name: ... for field in fields(kind)} | given))


for kind in vars(values).values():
    if is_dataclass(kind):
        st.register_type_strategy(kind, complete(kind))  # type: ignore[arg-type] # a class, not an instance
hosts = st.lists(complete(values.HostState), max_size=3, unique_by=lambda host: host.name).map(tuple)
snapshots = complete(Snapshot, time=st.floats(0, 4e9), hosts=hosts)
# No database: the checkout may not be ours to write in.
generous = settings(
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    max_examples=40,
    deadline=None,
)


@generous
@given(snapshots)
def test_a_snapshot_comes_back_equal(snapshot: Snapshot) -> None:
    """What was written is read back to an equal value, whatever is in it."""
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


@generous
@given(st.from_type(Route), st.from_type(Connection))
def test_parts_of_a_snapshot_can_be_written_alone(route: Route, connection: Connection) -> None:
    """Any frozen value can be written, not only a whole Snapshot."""
    assert from_json(to_json(route), Route) == route
    assert from_json(to_json(connection), Connection) == connection


@generous
@given(st.ip_addresses())
def test_the_text_chooses_the_version_of_an_address(address: IPAddress) -> None:
    """IPv4 and IPv6 are told apart by how they are written, also as next hop or None."""
    text = json.dumps({"via": str(address), "interface": None})
    route: Route = from_json(f'{{"destination": "::/0", "hops": [{text}], "source": null}}', Route)
    assert route.via == address
    assert route.source is None


def test_json_is_a_document_that_others_can_read() -> None:
    """Addresses are plain text and tuples are lists."""
    snapshot = Snapshot("näher", 1.5, (HostState("red", 4026531840, sysctls=(("net.ipv4.ip_forward", "1"),)),))
    document: dict[str, Any] = json.loads(snapshot.to_json())
    assert document["lab"] == "näher"
    assert document["hosts"][0]["sysctls"] == [["net.ipv4.ip_forward", "1"]]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('{"lab": "x", "time": 1.0, "hosts": [{"name": "red", "inode": "5"}]}', "$.hosts[0].inode", "expected int"),
        ('{"lab": "x", "time": 1.0, "hosts": [{"inode": 5}]}', "$.hosts[0].name", "required field missing"),
        ('{"lab": "x", "time": 1.0, "host": []}', "$", "extra fields found (host)"),
        ('{"lab": "x", "time": 1.0, "hosts": 3}', "$.hosts", "expected an object"),
        ('{"lab": true, "time": 1.0}', "$.lab", "expected str, got True"),
        ("[]", "$", "expected an object"),
        ("{", "line 1 column 2", "This is no JSON"),
    ],
)
def test_a_bad_document_names_the_place(text: str, place: str, words: str) -> None:
    """What is wrong is reported as our error, with the place and what was expected."""
    with pytest.raises(InvalidInputError) as caught:
        Snapshot.from_json(text)
    assert place in str(caught.value)
    assert words in str(caught.value)


def test_a_bad_address_names_the_place() -> None:
    """An address that is none is quoted in the message."""
    with pytest.raises(InvalidInputError, match=r"'10\.0\.0\.999' does not appear.*\$\.hops\[0\]\.via"):
        from_json('{"destination": "10.0.0.0/8", "hops": [{"via": "10.0.0.999"}]}', Route)
