"""Packets as rows of a table, and their fields layer by layer, decoded by scapy. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab.kernel.packets import Packet

#: Fields that a chapter asks about, by scapy's names of layer and field; the others are shown in grey.
MATTER = {
    "Ethernet": {"src", "dst", "type"},
    "ARP": {"op", "hwsrc", "psrc", "hwdst", "pdst"},
    "IP": {"src", "dst", "ttl", "proto", "flags", "id", "frag"},
    "IPv6": {"src", "dst", "hlim", "nh"},
    "TCP": {"sport", "dport", "seq", "ack", "flags"},
    "UDP": {"sport", "dport"},
    "ICMP": {"type", "code", "id", "seq"},
    "VXLAN": {"vni"},
}
_TCP_FLAGS = {"S": "SYN", "A": "ACK", "F": "FIN", "R": "RST", "P": "PSH", "U": "URG", "E": "ECE", "C": "CWR"}
_ARP_OPERATIONS = {1: "who has this address?", 2: "this address is at"}
_LONGEST = 400


def row(packet: Packet, number: int, first_ns: int) -> dict[str, Any]:
    """Return a packet as one row: number, milliseconds since the first, where, who, what, bytes, fields."""
    layers = list(_layers(packet.layers))
    source, target = _ends(layers)
    return {
        "number": number,
        "time": f"{(packet.time_ns - first_ns) / 1e6:.3f}",
        "where": packet.interface,
        "direction": packet.direction,
        "source": source,
        "target": target,
        "what": _what(layers),
        "bytes": len(packet.data),
        "layers": [{"name": layer.name, "fields": list(_fields(layer))} for layer in layers],
    }


def _layers(packet: Any) -> Iterator[Any]:
    while packet:
        yield packet
        packet = packet.payload


def _ends(layers: list[Any]) -> tuple[str, str]:
    """Return who sends to whom, of the outermost layer that has IP addresses, with ports."""
    for place, layer in enumerate(layers):
        if layer.name in {"IP", "IPv6"}:
            above = layers[place + 1] if place + 1 < len(layers) else None
            ports = (above.sport, above.dport) if above is not None and above.name in {"TCP", "UDP"} else None
            ends = [f"[{end}]" if ports and ":" in end else end for end in (layer.src, layer.dst)]
            return (f"{ends[0]}:{ports[0]}", f"{ends[1]}:{ports[1]}") if ports else (ends[0], ends[1])
    for layer in layers:
        if layer.name == "ARP":
            return layer.psrc, layer.pdst
    return (layers[0].src, layers[0].dst) if layers and layers[0].name == "Ethernet" else ("", "")


def _what(layers: list[Any]) -> str:
    """Return what the packet is for, from its innermost layer that says it."""
    names = [layer.name for layer in layers]
    for layer in reversed(layers):
        if layer.name == "ARP":
            return "ARP " + ("who has " + layer.pdst if layer.op == 1 else f"{layer.psrc} is at {layer.hwsrc}")
        if layer.name == "TCP":
            flags = " ".join(_TCP_FLAGS[flag] for flag in str(layer.flags) if flag in _TCP_FLAGS)
            size = len(layer.payload)
            return f"TCP {flags}" + (f", {size} bytes of data" if size else "") + _inside(names)
        if layer.name == "UDP":
            return f"UDP, {len(layer.payload)} bytes of data" + _inside(names)
        if layer.name == "ICMP":
            return str(layer.sprintf("ICMP %ICMP.type%")) + (f", code {layer.code}" if layer.code else "")
        if layer.name.startswith("ICMPv6"):
            return str(layer.name)
    return names[-1] if names else "nothing"


def _inside(names: list[str]) -> str:
    return " (inside VXLAN)" if "VXLAN" in names else ""


def _fields(layer: Any) -> Iterator[dict[str, Any]]:
    wanted = MATTER.get(layer.name, set())
    for description in layer.fields_desc:
        value = layer.getfieldval(description.name)
        if value is None or value == []:
            continue
        text = str(description.i2repr(layer, value))
        yield {
            "name": description.name,
            "value": text if len(text) <= _LONGEST else text[:_LONGEST] + "…",
            "matters": description.name in wanted,
            "note": _note(layer, description.name, value),
        }


def _note(layer: Any, field: str, value: Any) -> str:
    """Return in words what a field's bits mean, where they are not plain."""
    if layer.name == "TCP" and field == "flags":
        return ", ".join(_TCP_FLAGS[flag] for flag in str(value) if flag in _TCP_FLAGS)
    if layer.name == "ARP" and field == "op":
        return _ARP_OPERATIONS.get(value, "")
    if layer.name == "IP" and field == "flags":
        return "don't fragment" if "DF" in str(value) else "more fragments follow" if "MF" in str(value) else ""
    return ""
