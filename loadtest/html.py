"""A run as one HTML file: figures with their rounds, ratios to the floors, curves. Nothing is fetched."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from loadtest.plots import bars, curve, strip
from loadtest.report import number, worded

if TYPE_CHECKING:
    from loadtest.report import Figure, Measurement, Report

STYLE: Final = """
:root { --ink: #1c2430; --soft: #66707f; --line: #e3e7ec; --paper: #fff; --ground: #f5f7f9;
  --leaf: #2f7d4f; --leaf-soft: #2f7d4f22; --mark: #c2571a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaef; --soft: #98a3b1; --line: #2c3541;
  --paper: #171d25;  --ground: #10151b; --leaf: #62c28a; --leaf-soft: #62c28a26; --mark: #f0a060; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 28px; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 19px; margin: 0; }
.meta, .parameters, .note { color: var(--soft); font-size: 13px; }
.meta code { font-size: 12px; }
nav { display: flex; flex-wrap: wrap; gap: 8px; margin: 20px 0 28px; }
nav a { color: var(--ink); text-decoration: none; background: var(--paper); border: 1px solid var(--line);
  border-radius: 999px; padding: 3px 12px; font-size: 13px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 22px 26px;
  margin: 0 0 22px; }
.parameters { margin: 2px 0 14px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; font-size: 12px; color: var(--soft); padding: 4px 12px 4px 0;
  border-bottom: 1px solid var(--line); }
td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
tr:last-child td { border-bottom: 0; }
.value { text-align: right; white-space: nowrap; font-weight: 600; }
.value span { color: var(--soft); font-weight: 400; }
.range { color: var(--soft); font-size: 12px; white-space: nowrap; }
.strip { width: 150px; height: 18px; display: block; }
.ratio { display: flex; align-items: center; gap: 7px; font-size: 12px; color: var(--soft);
  white-space: nowrap; }
.ratio b { color: var(--ink); min-width: 2.6em; text-align: right; }
.ratio svg { width: 90px; height: 10px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 18px;
  margin-top: 18px; }
figure { margin: 0; }
figcaption { font-weight: 600; font-size: 13px; margin-bottom: 4px; }
figcaption span { color: var(--soft); font-weight: 400; }
figure svg { width: 100%; max-width: 520px; height: auto; display: block; }
.grid { stroke: var(--line); stroke-width: 1; }
.tick { fill: var(--soft); font-size: 10.5px; }
.axis { fill: var(--soft); font-size: 11px; }
.curve { fill: none; stroke: var(--leaf); stroke-width: 2; stroke-linejoin: round; }
.area { fill: var(--leaf-soft); }
.dot { fill: var(--leaf); fill-opacity: .55; }
.median, .one { stroke: var(--mark); stroke-width: 2; }
.bar { fill: var(--leaf); fill-opacity: .75; }
.note { margin: 14px 0 0; max-width: 85ch; }
"""


def to_html(report: Report) -> str:
    """The whole page."""
    c = report.conditions
    links = "".join(
        f'<a href="#m{place}">{escape(m.title)}</a>' for place, m in enumerate(report.measurements)
    )
    sections = "\n".join(_section(place, m) for place, m in enumerate(report.measurements))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Orchard load test, {escape(c.commit)}</title><style>{STYLE}</style></head><body><main>\n"
        f"<h1>Load test</h1>\n"
        f'<p class="meta">Commit {escape(c.commit)}, {escape(c.date)}. {escape(c.machine)}; '
        f"Linux {escape(c.kernel)}, Python {escape(c.python)}.<br><code>{escape(c.command)}</code></p>\n"
        f"<nav>{links}</nav>\n{sections}\n"
        '<p class="note">The figure is the median of the rounds; each dot is a round, the mark their median. '
        "A bar shows how many times the least possible a figure is: the mark is one AES-128-GCM seal and its "
        "share of a send, in three ways, measured in the same rounds. Ratios hold between machines, times do "
        "not.</p>\n</main></body></html>\n"
    )


def _section(place: int, measurement: Measurement) -> str:
    parameters = " · ".join(map(escape, worded(measurement.parameters)))
    rows = "".join(_row(figure) for figure in measurement.figures)
    plots = "".join(curve(series) for series in measurement.series)
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in measurement.notes)
    floors = any(figure.floors for figure in measurement.figures)
    return (
        f'<section id="m{place}"><h2>{escape(measurement.title)}</h2><p class="parameters">{parameters}</p>'
        f'<table><tr><th>figure</th><th class="value">median</th><th>rounds</th><th></th>'
        f"<th>{'times the floor' if floors else ''}</th></tr>{rows}</table>"
        f"{f'<div class=plots>{plots}</div>' if plots else ''}{notes}</section>"
    )


def _row(figure: Figure) -> str:
    low, high = min(figure.values), max(figure.values)
    many = len(figure.values) > 1
    spread = f"{number(low)} to {number(high)}" if many else "one"
    return (
        f"<tr><td>{escape(figure.name)}</td>"
        f'<td class="value">{number(figure.median)} <span>{escape(figure.unit)}</span></td>'
        f"<td>{strip(figure.values, figure.median)}</td>"
        f'<td class="range">{spread}</td><td>{bars(figure.ratios)}</td></tr>'
    )
