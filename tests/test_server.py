from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from netlab import CommandError, InvalidInputError

if TYPE_CHECKING:
    from netlab import Host

pytestmark = pytest.mark.kernel

#: Sends one datagram and prints the answer and where it came from.
_ASK = """
import json, socket, sys
address, port, text = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(3)
    sock.sendto(text.encode(), (address, port))
    answer, sender = sock.recvfrom(1 << 16)
    print(json.dumps({"answer": json.loads(answer), "sender": sender[0], "own": sock.getsockname()[1]}))
"""


def get(host: Host, *arguments: str) -> dict[str, Any]:
    """Return the JSON that curl gets."""
    result = host.run("curl", "-s", "--max-time", "5", *arguments, check=True)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def ask(host: Host, address: str, port: int, text: str = "hello") -> dict[str, Any]:
    """Return the JSON answer to a datagram, with the address it came from."""
    result = host.run("python3", "-I", "-c", _ASK, address, str(port), text, check=True)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_http_says_who_answered_and_who_called(pair: tuple[Host, Host]) -> None:
    """A request tells the server's and the caller's address and port, the Host header, the path and the body."""
    red, blue = pair
    with blue.serve(80):
        answer = get(red, "--local-port", "40000", "-H", "Host: web.example", "10.0.0.2/a/path?x=1")
        assert (answer["server"], answer["server_address"], answer["server_port"]) == ("blue", "10.0.0.2", 80)
        assert (answer["client_address"], answer["client_port"]) == ("10.0.0.1", 40000)
        assert (answer["host"], answer["path"], answer["method"]) == ("web.example", "/a/path?x=1", "GET")
        assert get(red, "-d", "name=value", "10.0.0.2")["body"] == "name=value"
        assert get(red, "-X", "DELETE", "10.0.0.2")["method"] == "DELETE"
        assert red.run("curl", "-sI", "10.0.0.2").stdout.startswith("HTTP/1.1 200")


def test_http_over_ipv6(pair: tuple[Host, Host]) -> None:
    """The same server answers callers of both families, each with the addresses of its own."""
    red, blue = pair
    with blue.serve(8080):
        answer = get(red, "http://[fd00::2]:8080/")
        assert (answer["server_address"], answer["client_address"]) == ("fd00::2", "fd00::1")
        assert get(red, "10.0.0.2:8080")["client_address"] == "10.0.0.1"


@pytest.mark.parametrize("address", ["10.0.0.2", "10.0.0.3", "10.0.9.9", "fd00::2", "fd00::3", "fd99::9"])
def test_a_datagram_is_answered_from_where_it_went(pair: tuple[Host, Host], address: str) -> None:
    """A UDP server with several addresses answers from the one that was asked, on whichever interface it is."""
    red, blue = pair
    blue.set_link("lo", up=True)
    for interface, extra in (
        ("eth0", "10.0.0.3/24"),
        ("lo", "10.0.9.9/32"),
        ("eth0", "fd00::3/64"),
        ("lo", "fd99::9/128"),
    ):
        blue.add_address(interface, extra)
    red.add_route("10.0.9.9", via="10.0.0.2")
    red.add_route("fd99::9", via="fd00::2")
    with blue.serve(53, protocol="udp"):
        found = ask(red, address, 53, "hällo")
    assert found["sender"] == address
    answer = found["answer"]
    assert (answer["server"], answer["server_address"], answer["server_port"]) == ("blue", address, 53)
    assert answer["client_address"] == ("fd00::1" if ":" in address else "10.0.0.1")
    assert (answer["client_port"], answer["body"], answer["protocol"]) == (found["own"], "hällo", "udp")


def test_a_large_datagram_is_answered(pair: tuple[Host, Host]) -> None:
    """A datagram of 20,000 bytes comes back whole."""
    red, blue = pair
    with blue.serve(53, protocol="udp"):
        assert ask(red, "10.0.0.2", 53, "x" * 20_000)["answer"]["body"] == "x" * 20_000


def test_one_address_only(pair: tuple[Host, Host]) -> None:
    """A server with an address is not reached at another one, of either protocol."""
    red, blue = pair
    blue.add_address("eth0", "10.0.0.3/24")
    with blue.serve(80, address="10.0.0.3"), blue.serve(53, protocol="udp", address="10.0.0.3"):
        assert get(red, "10.0.0.3")["server_address"] == "10.0.0.3"
        assert not red.run("curl", "-s", "--max-time", "2", "10.0.0.2").ok
        assert ask(red, "10.0.0.3", 53)["answer"]["server_address"] == "10.0.0.3"


def test_a_taken_port_is_an_error(pair: tuple[Host, Host]) -> None:
    """A second server on a port says why it cannot be, and the first goes on."""
    red, blue = pair
    first = blue.serve(80)
    with pytest.raises(CommandError, match=r"Host 'blue' cannot serve tcp port 80: .*Address already in use"):
        blue.serve(80)
    with pytest.raises(CommandError, match=r"Host 'blue' cannot serve udp port 53: .*annot assign requested address"):
        blue.serve(53, protocol="udp", address="10.99.0.1")
    assert get(red, "10.0.0.2")["server"] == "blue"
    assert repr(first) == "<Server on blue, tcp port 80, listening>"
    first.close()
    first.close()
    assert repr(first) == "<Server on blue, tcp port 80, ended>"
    assert not red.run("curl", "-s", "--max-time", "2", "10.0.0.2").ok


def test_what_cannot_be_served_is_refused(pair: tuple[Host, Host]) -> None:
    """Wrong ports, protocols and addresses are refused before a process is started."""
    red, _ = pair
    for port in (0, 65536, "80", True):
        with pytest.raises(InvalidInputError, match="A port must be a whole number from 1 to 65535"):
            red.serve(port)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match='"tcp" or "udp"'):
        red.serve(80, protocol="sctp")
    with pytest.raises(InvalidInputError):
        red.serve(80, address="10.0.0.1/24")


def test_many_callers_at_once(pair: tuple[Host, Host]) -> None:
    """Fifty callers at once all get an answer, over one connection and over many."""
    red, blue = pair
    with blue.serve(80) as server:
        assert str(server.pid) in blue.run("pgrep", "-f", "echo.py").stdout.split()
        callers = [red.popen("curl", "-s", "--max-time", "10", "10.0.0.2", "10.0.0.2/again") for _ in range(50)]
        assert all(caller.communicate(timeout=20)[0].count(b'"server": "blue"') == 2 for caller in callers)


def test_servers_show_in_the_snapshot(pair: tuple[Host, Host]) -> None:
    """Listening and connected sockets are seen with the process that holds them."""
    red, blue = pair
    with (
        blue.serve(80) as web,
        blue.serve(53, protocol="udp"),
        red.popen("python3", "-c", "import socket; s = socket.create_connection(('10.0.0.2', 80)); input()", stdin=-1),
    ):
        sockets = blue.state().sockets
        listening = {(each.protocol, each.local_port): each for each in sockets if each.listening}
        assert listening["tcp", 80].pid == web.pid
        assert listening["tcp", 80].process.startswith("python")
        assert listening["udp", 53].state == "UNCONN"
