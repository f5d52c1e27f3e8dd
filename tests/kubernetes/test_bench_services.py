"""What a connection pays is measured, told in a table, and drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from netlab.benches.measure import Figure
from netlab.benches.plot import Chart, Point
from netlab.benches.services import connection_times, draw_connections, measure_connections

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ET.Element:
    """Return the root of an SVG that we wrote."""
    return ET.fromstring(svg)  # noqa: S314 - we wrote it


@pytest.mark.kernel
def test_connections_are_measured_in_both_modes_and_drawn() -> None:
    """A median for each number of Services, from real connections; the plot says the same numbers in words."""
    figures = list(measure_connections((10, 30)))
    times = connection_times(figures)
    assert {mode: set(by_size) for mode, by_size in times.items()} == {"iptables": {10, 30}, "nftables": {10, 30}}
    assert all(len(figure.values) > 100 and min(figure.values) > 1 for figure in figures)
    root = parsed(draw_connections([*figures, Figure("something else", "s", (1.0,))]))
    median = times["nftables"][30].median
    assert median is not None
    assert f"{median:.3g} at 30" in root.attrib["aria-label"]
    assert len(root.findall(f"{SVG}polyline")) == 2


def test_a_chart_puts_points_where_their_numbers_are() -> None:
    """Equal factors are equal distances from left to right, and the axis from 0 upwards counts evenly."""
    points = [Point(x, y - 1, y, y + 1) for x, y in ((10, 20), (100, 40), (1000, 60))]
    root = parsed(Chart("Title <1>", "x", "y", {"line": points}).svg())
    way = [tuple(map(float, pair.split(","))) for pair in root.findall(f"{SVG}polyline")[0].attrib["points"].split()]
    (x1, y1), (x2, y2), (x3, y3) = way
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)
    zero = next(float(line.attrib["y1"]) for line in root.findall(f"{SVG}line") if line.attrib["stroke"] == "#555555")
    assert zero - y1 == pytest.approx(y1 - y2, abs=0.2)
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert {"Title <1>", "line", "x", "y", "0", "1,000"} <= set(words)


def test_a_chart_of_one_point_and_of_none() -> None:
    """One stands in the middle; none is an error."""
    root = parsed(Chart("t", "x", "y", {"a": [Point(5, 0, 0, 0)]}).svg())
    assert float(root.findall(f"{SVG}circle")[0].attrib["cx"]) == pytest.approx(345)
    with pytest.raises(ValueError, match="at least one point"):
        Chart("t", "x", "y", {"a": []}).svg()
