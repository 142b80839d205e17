# SPDX-License-Identifier: Apache-2.0
"""SVG charts: for one figure a panel for each guest and link, in it a bar for each contender.

Each panel has a scale of its own; the line on a bar is the least and most of its moves.
"""
import dataclasses
import xml.sax.saxutils

from . import catalog

BAR, STEP, LABELS, BARS, VALUES, GAP = 13, 19, 116, 190, 92, 26
HEAD, PANEL_HEAD, LEFT = 76, 26, 20
INK, PALE, WATARI, PEER, STUCK = "#1f2328", "#59636e", "#0969da", "#8c959f", "#d1242f"
STYLE = 'font-family="system-ui, sans-serif" font-size="12"'


@dataclasses.dataclass(frozen=True)
class Chart:
    figure: str
    title: str
    divisor: float
    unit: str
    decimals: int


CHARTS = (
    Chart("bytes", "Bytes on the wire", 1 << 20, "MiB", 0),
    Chart("total_s", "Total time", 1, "s", 1),
    Chart("gap_ms", "Longest gap seen from outside", 1, "ms", 0),
)


def _text(x, y, text, fill=INK, anchor="start", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}" {more}>{xml.sax.saxutils.escape(text)}</text>'


def _rect(x, y, width, height, fill, more=""):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.5, width):.1f}" height="{height}" fill="{fill}" {more}/>'


def _bar(chart, cell, x, y, scale):
    """The bar itself, its spread and its value."""
    middle = y + BAR / 2
    found = cell.figures.get(chart.figure)
    if found is None:
        word = "not converged" if cell.not_converged else "failed"
        return [_rect(x, y, BARS, BAR, STUCK, 'opacity="0.18"'), _text(x + 6, middle + 4, word, STUCK)]
    fill = WATARI if cell.contender.startswith("watari") else PEER
    parts = [_rect(x, y, found.median * scale, BAR, fill)]
    if found.most > found.least:
        parts.append(f'<path d="M{x + found.least * scale:.1f} {middle:.1f}H{x + found.most * scale:.1f}" stroke="{INK}"/>')
    value = f"{found.median / chart.divisor:.{chart.decimals}f} {chart.unit}"
    if cell.not_converged:
        value += f" ({cell.moved} of {cell.runs})"
    parts.append(_text(x + found.most * scale + 6, middle + 4, value))
    return parts


def _panel(chart, cells, x, y):
    """All contenders of one guest and link."""
    most = max((cell.figures[chart.figure].most for cell in cells if chart.figure in cell.figures), default=0)
    scale = BARS / most if most else 0
    first = cells[0]
    title = f"{catalog.GUESTS[first.guest].title} · {catalog.LINKS[first.link].title}"
    parts = [_text(x, y + 12, title, more='font-weight="600"')]
    for index, cell in enumerate(cells):
        top = y + PANEL_HEAD + index * STEP
        ours = cell.contender.startswith("watari")
        parts.append(_text(x + LABELS - 8, top + BAR / 2 + 4, cell.contender, INK if ours else PALE, "end",
                           'font-weight="600"' if ours else ""))
        parts += _bar(chart, cell, x + LABELS, top, scale)
    return parts


def _grid(cells):
    """Rows of panels: one row a guest, one panel a link."""
    rows = {}
    for (guest, link, _), cell in cells.items():
        rows.setdefault(guest, {}).setdefault(link, []).append(cell)
    return [list(row.values()) for row in rows.values()]


def draw(chart, cells):
    """The whole picture as text."""
    rows = _grid(cells)
    width = LEFT * 2 + max((len(row) for row in rows), default=1) * (LABELS + BARS + VALUES + GAP) - GAP
    parts, y = [], HEAD
    for row in rows:
        for index, panel in enumerate(row):
            parts += _panel(chart, panel, LEFT + index * (LABELS + BARS + VALUES + GAP), y)
        y += PANEL_HEAD + max(len(panel) for panel in row) * STEP + GAP
    head = [_text(LEFT, 32, f"{chart.title} ({chart.unit})", more='font-size="18" font-weight="600"'),
            _text(LEFT, 52, "median of the moves; the line is least to most; every panel has its own scale", PALE)]
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}" '
                      f'{STYLE}>', _rect(0, 0, width, y, "#ffffff"), *head, *parts, "</svg>", ""])
