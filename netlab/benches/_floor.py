"""The kernel's own floor: the requests of the bench's topology, encoded beforehand and sent in a tight loop.

Run as a script in a process of its own: ``python -m netlab.benches._floor HOSTS``. It prints the seconds that the
kernel took: for named namespaces with their settings, cables, ports, addresses and routes, as a lab has them. Nothing
but system calls stands between two requests, so that no program can build the same faster.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
import time
from ipaddress import ip_address, ip_interface, ip_network

from netlab.kernel import _calls, links
from netlab.kernel.namespace import FIRST_SYSCTLS
from netlab.kernel.netlink import NLM_F_ACK, NLM_F_REQUEST, NetlinkSocket, Request

#: Descriptors of the namespaces are moved to known numbers, so that messages can name them before they exist.
_FIRST_DESCRIPTOR = 300


def encode(request: Request) -> bytes:
    """Return a request as the bytes that go to the kernel."""
    header = request.message["header"]
    header["type"], header["flags"] = request.type, NLM_F_REQUEST | NLM_F_ACK | request.flags
    header["sequence_number"] = 1
    request.message.encode()
    return bytes(request.message.data)


def plan(number: int) -> tuple[list[bytes], list[bytes]]:
    """Return what host ``number`` needs: requests to the hub, and requests to the host itself."""
    port, descriptor = f"p{number}", _FIRST_DESCRIPTOR + number
    veth = links.add_veth(links.VethEnd(port, -1, "hub"), links.VethEnd("eth0", descriptor, "host"))
    # lo and the bridge have the first two indexes of the hub, and each port the next one.
    index = 3 + number
    hub = [veth, links.set_link("hub", port, index, up=True, master=("br0", 2))]
    address = ip_interface(f"10.9.{number // 200 + 1}.{number % 200 + 1}/16")
    route = links.RouteSpec(ip_network("0.0.0.0/0"), via=ip_address("10.9.0.1"))
    host = [
        links.set_link("host", "eth0", 2, up=True),
        links.address("host", ("eth0", 2), address),
        links.route("host", route),
    ]
    return [encode(request) for request in hub], [encode(request) for request in host]


def send(sock: socket.socket, messages: list[bytes]) -> None:
    """Send requests one by one; fail at the first refusal."""
    for message in messages:
        sock.send(message)
        (code,) = struct.unpack_from("=i", sock.recv(4096), 16)
        if code:
            raise OSError(-code, os.strerror(-code))


def main(count: int) -> None:
    """Build the topology once and print the seconds it took."""
    if os.geteuid() != 0:
        _calls.enter_user_namespace()
    _calls.unshare(_calls.CLONE_NEWNET | _calls.CLONE_NEWNS)
    _calls.mount("none", "/", None, _calls.MS_REC | _calls.MS_PRIVATE)
    _calls.mount("tmpfs", "/run", "tmpfs", 0)
    hub = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    base = _calls.open_namespace("net")
    speaker = NetlinkSocket(hub)
    speaker.apply(links.add_bridge("hub", "br0"))
    speaker.apply(links.set_link("hub", "br0", 2, up=True))
    speaker.apply(links.address("hub", ("br0", 2), ip_interface("10.9.0.1/16")))
    plans = [plan(number) for number in range(count)]
    began = time.perf_counter()
    for number, (to_hub, to_host) in enumerate(plans):
        _calls.unshare(_calls.CLONE_NEWNET)
        for key, value in FIRST_SYSCTLS.items():
            _calls.write(f"/proc/sys/{key}", value)
        os.close(os.open(f"/run/h{number}", os.O_CREAT | os.O_CLOEXEC))
        _calls.mount("/proc/self/ns/net", f"/run/h{number}", None, _calls.MS_BIND)
        descriptor = _calls.open_namespace("net")
        fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_DESCRIPTOR + number)
        os.close(descriptor)
        own = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        send(hub, to_hub)
        send(own, to_host)
        own.close()
        _calls.setns(base, _calls.CLONE_NEWNET)
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(int(sys.argv[1]))
