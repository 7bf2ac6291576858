"""The HTML report: one well-formed file that fetches nothing."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.html import to_html
from loadtest.plots import bars, curve, strip
from loadtest.report import Conditions, Figure, Measurement, Report, Series

CONDITIONS = Conditions("a<b>c", "2026-01-01 00:00 UTC", "a machine", "6.1", "3.11", "orchard loadtest 'x'")
EMPTY = {"meta", "circle", "line", "rect", "polyline", "polygon", "br"}


class Checked(HTMLParser):
    """Every element that is opened is closed in its turn; keeps all coordinates and all addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.coordinates: list[float] = []
        self.addresses: list[str] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in EMPTY:
            self.open.append(tag)
        self._keep(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in EMPTY
        self._keep(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    def _keep(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"href", "src"}:
                self.addresses.append(value or "")
            if name in {"x", "x1", "x2", "y", "y1", "y2", "cx", "cy", "width"} and (value or "").isascii():
                self.coordinates.append(float(value or "nan"))
            if name == "points":
                self.coordinates += [float(n) for pair in (value or "").split() for n in pair.split(",")]


def report() -> Report:
    figure = Figure("cost & more", "us", (5.0, 4.0, 9.0), {"gso": (2.0, 2.0, 3.0)})
    series = Series("Latency", "ms", "% delivered", tuple((0.1 * 2**i, 10.0 * i) for i in range(11)))
    measurement = Measurement("x", "An <X>", {"size": 1200}, (figure,), ("A note.",), (series,))
    return Report(CONDITIONS, [measurement])


def test_the_page_is_well_formed_and_fetches_nothing() -> None:
    page = Checked(to_html(report()))
    assert page.addresses == ["#m0"]
    assert "An <X>" in page.said
    assert any("a<b>c" in text for text in page.said)
    assert "2.50" in page.said
    assert "http" not in to_html(report())


@given(
    st.lists(
        st.tuples(st.floats(0, 1e9, allow_nan=False), st.floats(-1e9, 1e9, allow_nan=False)), max_size=20
    ),
    st.sampled_from(["% delivered", "MiB"]),
)
def test_any_points_make_a_drawable_curve(points: list[tuple[float, float]], unit: str) -> None:
    drawn = Checked(curve(Series("c", "x", unit, tuple(sorted(points)))))
    assert all(math.isfinite(at) for at in drawn.coordinates)


def test_a_curve_of_many_points_is_thinned_and_keeps_its_end() -> None:
    text = curve(Series("c", "s", "MiB", tuple((float(i), float(i)) for i in range(100_000))))
    assert len(text) < 20_000


@pytest.mark.parametrize("values", [(0.0, 0.0), (5.0, 5.0), (-3.0, 4.0), (1e-9, 1e9)])
def test_any_rounds_make_a_drawable_strip(values: tuple[float, ...]) -> None:
    assert all(0 <= at <= 150 for at in Checked(strip(values, values[0])).coordinates)


def test_one_round_needs_no_strip_and_no_floor_no_bar() -> None:
    assert strip((1.0,), 1.0) == ""
    assert bars({}) == ""


def test_the_floor_is_marked_where_the_ratio_is_one() -> None:
    assert '<rect class="bar" width="45.0"' in bars({"gso": 1.0})
    assert 'x1="45.0"' in bars({"gso": 1.0})
