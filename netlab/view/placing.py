"""Who stands where: rows or columns of hosts, and the side of its host on which each interface sits.

Pure and deterministic: the order is the order of birth, and nothing depends on names or on dictionaries. Places in
points are found later, by graphviz.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab.view.nouns import Scene, SceneHost

Side = Literal["top", "bottom", "left", "right"]
Level = Literal["full", "medium", "compact"]

#: A line of more hosts than this would not fit into a page; it is drawn as a tree.
LINE_HOSTS = 4
#: So many leaves of one bridge stand in one row; more are wrapped into rows above and below.
ROW_LEAVES = 8
#: Folded hubs are narrow: this many stand in a row.
ROW_FOLDED = 10
#: So many hosts without a cable stand in one row: few large ones, or many small ones.
FEW_ALONE, ROW_FEW = 8, 4
_FULL, _MEDIUM = 3, 5


@dataclass(frozen=True, slots=True)
class Entry:
    """A place in a row: a host, or (``lane``) the gap through which the cable of a host in an outer row passes."""

    host: str
    lane: bool = False


@dataclass(slots=True)
class Plan:
    """Rows from top to bottom (or columns from left to right), sides of interfaces, and how much each host shows."""

    columns: bool
    rows: list[list[Entry]] = field(default_factory=list)
    sides: dict[tuple[str, str], Side] = field(default_factory=dict)
    levels: dict[str, Level] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    uplinks: set[str] = field(default_factory=set)  # reached by a chip at the left of the ports
    grid: list[list[str]] = field(default_factory=list)  # hosts without cables, row by row
    wrapped: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)  # parent: (leaf, row, column)

    def row(self, host: str) -> int:
        """Return the number of the row in which a host stands."""
        return next(number for number, row in enumerate(self.rows) if Entry(host) in row)

    def depth(self, host: str) -> int:
        """Return how many hosts are above this one in its tree."""
        return 1 + self.depth(self.parents[host]) if host in self.parents else 0

    def side(self, host: str, interface: str) -> Side:
        """Return the side of an interface; without a cable it sits at the bottom."""
        return self.sides.get((host, interface), "bottom")


def plan(scene: Scene) -> Plan:
    """Choose rows or columns for a scene."""
    graph = _graph(scene)
    components = list(_components(graph))
    return _columns(scene, graph, components) if _is_line(scene, graph, components) else _rows(scene, graph, components)


Graph = dict[str, list[str]]


def _graph(scene: Scene) -> Graph:
    graph: Graph = {host.name: [] for host in scene.hosts}
    for cable in scene.between():
        (a, _), (b, _) = cable.a, cable.b
        # A tunnel has no place of its own: it goes along where cables are.
        if cable.kind != "tunnel" and b not in graph[a]:
            graph[a].append(b)
            graph[b].append(a)
    order = {name: place for place, name in enumerate(graph)}
    for name, near in graph.items():
        ports = _port_order(scene, name)
        near.sort(key=lambda other: (ports.get(other, len(ports)), order[other]))
    return graph


def _port_order(scene: Scene, name: str) -> dict[str, int]:
    """Return the place of each neighbour among the ports of a host: bridge by bridge, then the rest."""
    host = scene[name]
    bridges = [bridge.name for bridge in host.bridges]
    peers = {cable.a: cable.b for cable in scene.between()} | {cable.b: cable.a for cable in scene.between()}
    chips = sorted(host.chips, key=lambda chip: bridges.index(chip.master) if chip.master in bridges else len(bridges))
    ends = [peers[name, chip.name][0] for chip in chips if (name, chip.name) in peers]
    return {other: place for place, other in reversed(list(enumerate(ends)))}


def _components(graph: Graph) -> Iterator[list[str]]:
    """Yield the connected parts, each in order of birth, the part with the oldest host first."""
    seen: set[str] = set()
    for start in graph:
        if start not in seen:
            part = set(_distances(graph, start))
            seen |= part
            yield [name for name in graph if name in part]


def _distances(graph: Graph, start: str) -> dict[str, int]:
    found = {start: 0}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for other in graph[name]:
            if other not in found:
                found[other] = found[name] + 1
                queue.append(other)
    return found


def _is_line(scene: Scene, graph: Graph, components: list[list[str]]) -> bool:
    """Tell whether the lab is small and no host has a bridge or more than two neighbours: such a lab is one line."""
    if len(scene.hosts) > LINE_HOSTS or any(host.bridges or host.nest for host in scene.hosts):
        return False
    edges = sum(len(near) for near in graph.values()) // 2
    return all(len(near) <= 2 for near in graph.values()) and edges == len(graph) - len(components)


def _columns(scene: Scene, graph: Graph, components: list[list[str]]) -> Plan:
    line: list[str] = []
    for part in components:
        start = next(name for name in part if len(graph[name]) <= 1)
        line += list(_distances(graph, start))
    found = Plan(columns=True, rows=[[Entry(name)] for name in line], levels=dict.fromkeys(line, "full"))
    place = {name: number for number, name in enumerate(line)}
    for cable in scene.between():
        left, right = sorted((cable.a, cable.b), key=lambda end: place[end[0]])
        if place[right[0]] - place[left[0]] == 1:
            found.sides[left], found.sides[right] = "right", "left"
    return found


def _rows(scene: Scene, graph: Graph, components: list[list[str]]) -> Plan:
    found = Plan(columns=False)
    levels: dict[str, int] = {}
    alone = [part[0] for part in components if len(part) == 1]
    for part in components:
        if len(part) > 1:
            _tree(scene, graph, part, found, levels)
    _stack(graph, found, levels)
    width = ROW_FEW if len(alone) <= FEW_ALONE else ROW_LEAVES
    rows = [alone[start : start + width] for start in range(0, len(alone), width)]
    found.rows += [[Entry(name) for name in row] for row in rows]
    found.grid = rows
    _show(scene, graph, found)
    _sides(scene, found)
    return found


def _tree(scene: Scene, graph: Graph, part: list[str], found: Plan, levels: dict[str, int]) -> None:
    """Hang a connected part from its middle: the middle stands at the bottom, all others above by their distance."""
    root = _middle(scene, graph, part)
    distances = _distances(graph, root)
    below = _uplinks(scene, root)
    found.uplinks |= below
    for name, distance in distances.items():
        if name != root:
            found.parents[name] = next(n for n in graph[name] if distances[n] == distance - 1)
        parent = found.parents.get(name, name)
        # A node's ways out are on its lower border.
        down = name in below or levels.get(parent, 0) < 0 or (name != root and scene[parent].nest is not None)
        levels[name] = levels.get(parent, 0) + (-1 if down else 1) if name != root else 0
    hubs = {}
    for name in part:
        leaves = [n for n in graph[name] if len(graph[n]) == 1 and found.parents.get(n) == name]
        if len(leaves) > (ROW_FOLDED if any(scene[n].units for n in leaves) else ROW_LEAVES):
            hubs[name] = leaves
    for hub, leaves in hubs.items():
        folded = any(scene[leaf].units for leaf in leaves)
        width = ROW_LEAVES if not folded and len(leaves) <= 4 * ROW_LEAVES else 10
        width = width if len(hubs) == 1 else max(3, width // len(hubs))
        both = hub == root
        for number, leaf in enumerate(leaves):
            row, column = divmod(number, width)
            found.wrapped.setdefault(hub, []).append((leaf, row, column))
            distance = (row // 2 + 1) if both else row + 1
            levels[leaf] = levels[hub] + (-distance if (both and row % 2) or levels[hub] < 0 else distance)


def _uplinks(scene: Scene, root: str) -> set[str]:
    """Return the neighbours of a host with ports in use that it reaches by its own stack: they stand below it."""
    bridges = {bridge.name for bridge in scene[root].bridges}
    masters = {chip.name: chip.master in bridges for chip in scene[root].chips}
    cables = [(cable, cable.other(root)) for cable in scene.between() if root in {cable.a[0], cable.b[0]}]
    ends = {other[0]: (cable.a if cable.a[0] == root else cable.b)[1] for cable, other in cables if not cable.lane}
    ports = {other for other, name in ends.items() if masters.get(name)}
    return set(ends) - ports if ports else set()


def _middle(scene: Scene, graph: Graph, part: list[str]) -> str:
    """Return the host from which no other is far: then a bridge, then more cables, then age count."""
    folded = {name: sum(bool(scene[n].units or scene[n].nest) for n in graph[name]) for name in part}
    if any(folded.values()):
        return max(part, key=lambda name: folded[name])
    busy = max(part, key=lambda name: len(graph[name]))
    if len(graph[busy]) > len(part) // 2:
        return busy
    far = {name: max(_distances(graph, name).values()) for name in part}
    return min(part, key=lambda name: (far[name], not scene[name].bridges, -len(graph[name])))


def _stack(graph: Graph, found: Plan, levels: dict[str, int]) -> None:
    """Write the rows, each in the order of its parents, with the lanes that outer leaves need between inner ones."""
    place: dict[str, tuple[int, ...]] = {}
    order = {name: number for number, name in enumerate(graph)}
    grid = {leaf: (row, column) for leaves in found.wrapped.values() for leaf, row, column in leaves}
    for name in sorted(levels, key=found.depth):
        parent = found.parents.get(name)
        if parent is None:
            place[name] = (order[name],)
        elif name in found.uplinks:
            place[name] = (*place[parent], -1, graph[parent].index(name))
        elif name in grid:
            # Outer rows come first: their lanes lie to the left of the card in the same column.
            place[name] = (*place[parent], grid[name][1], -grid[name][0])
        else:
            place[name] = (*place[parent], graph[parent].index(name))
    for level in sorted(set(levels.values()), reverse=True):
        row = [Entry(name) for name in levels if levels[name] == level]
        row += [Entry(n, lane=True) for n, p in found.parents.items() if _passes(level, levels[n], levels[p])]
        found.rows.append(sorted(row, key=lambda entry: place[entry.host]))


def _passes(level: int, outer: int, hub: int) -> bool:
    return min(outer, hub) < level < max(outer, hub)


def _show(scene: Scene, graph: Graph, found: Plan) -> None:
    """Decide how much each host shows: the more stand in a row, the less."""
    wrapped = {leaf for leaves in found.wrapped.values() for leaf, _, _ in leaves}
    alone = sum(not near for near in graph.values())
    nodes = sum(bool(host.nest or host.units) for host in scene.hosts)
    for row in found.rows:
        hosts = [entry.host for entry in row if not entry.lane]
        crowd = alone if not graph[hosts[0]] else len(hosts)
        level: Level = "full" if crowd <= _FULL else "medium" if crowd <= _MEDIUM else "compact"
        for name in hosts:
            leaf = len(graph[name]) <= 1 and not scene[name].bridges
            small = len(scene[name].chips) <= 2
            beside = sum(scene[other].nest is not None for other in graph[name])
            aside = nodes > 0 and _steps_back(scene[name], nodes) and (beside <= 1 or bool(scene[name].bridges))
            if aside or scene[name].units or (leaf and small and name in wrapped):
                found.levels[name] = "compact"
            elif leaf:
                found.levels[name] = level if small or level != "compact" else "medium"
            else:
                found.levels[name] = "full"


def _steps_back(host: SceneHost, nodes: int) -> bool:
    """Tell whether a host beside nodes is drawn small: the switch between them, and beside several of them the others.

    A node is never, nor is a bridge with a part of its own.
    """
    if host.nest is not None or any(bridge.addresses for bridge in host.bridges):
        return False
    return bool(host.bridges) or nodes > 1


def _sides(scene: Scene, found: Plan) -> None:
    height = {entry.host: number for number, row in enumerate(found.rows) for entry in row if not entry.lane}
    for cable in scene.between():
        upper, lower = sorted((cable.a, cable.b), key=lambda end: height[end[0]])
        if (cable.kind == "tunnel" and not cable.lane) or height[upper[0]] == height[lower[0]]:
            continue
        found.sides[upper], found.sides[lower] = "bottom", "top"
