# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain SVG drawings: bars of ratios, and curves with one point for each median."""

from __future__ import annotations

import typing as t
from xml.sax.saxutils import escape

_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
)
_COLOURS = ("#1b6ca8", "#d9822b", "#4f9d5d", "#a8456b", "#777777")
_LICENCE = """<!--
Copyright (c) 2026 The luksmith developers
GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
Drawn by tests/benchmark/run.
-->"""


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'


def bars(title: str, rows: t.Sequence[t.Tuple[str, t.Sequence[t.Tuple[str, float]]]]) -> str:
    """One group for each row, one bar for each (name, ratio); a line stands at 1."""
    names = list(dict.fromkeys(name for _label, values in rows for name, _value in values))
    left, width, thick = 260, 900, 14
    largest = max((value for _label, values in rows for _name, value in values), default=1.0)
    scale = (width - left - 60) / max(largest, 1.0)
    parts, y = [_text(10, 22, title, weight="bold")], 36.0
    beside = float(left)
    for number, name in enumerate(names):
        parts.append(f'<rect x="{beside:.1f}" y="{y:.1f}" width="12" height="12" fill="{_COLOURS[number % 5]}"/>')
        parts.append(_text(beside + 17, y + 11, name))
        beside += 45 + 7 * len(name)
    y += 28
    top = y
    for label, values in rows:
        parts.append(_text(left - 8, y + thick * len(values) / 2 + 4, label, "end"))
        for name, value in values:
            parts.append(
                f'<rect x="{left}" y="{y:.1f}" width="{value * scale:.1f}" height="{thick - 2}" '
                f'fill="{_COLOURS[names.index(name) % 5]}"/>'
            )
            parts.append(_text(left + value * scale + 4, y + thick - 4, f"{value:.1f}"))
            y += thick
        y += 8
    parts.append(
        f'<line x1="{left + scale:.1f}" x2="{left + scale:.1f}" y1="{top:.1f}" y2="{y:.1f}" stroke="#000" '
        'stroke-dasharray="3 3"/>'
    )
    return "\n".join(
        [
            _HEAD.format(width=width, height=int(y + 10)),
            _LICENCE,
            '<rect width="100%" height="100%" fill="#fff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _place(origin: float, scale: float, value: float) -> float:
    return origin + scale * value


def curves(panels: t.Sequence[t.Tuple[str, str, t.Mapping[str, t.Sequence[t.Tuple[float, float]]]]]) -> str:
    """Panels of (title, name of the x axis, {name: points}); y is seconds."""
    width, height, margin = 450, 300, 45
    parts = []
    for number, (title, axis, lines) in enumerate(panels):
        x0, y0 = (number % 2) * width, (number // 2) * height
        xs = [x for points in lines.values() for x, _y in points] or [1.0]
        ys = [y for points in lines.values() for _x, y in points] or [1.0]

        def to_x(x: float, x0: int = x0, most: float = max(xs)) -> float:
            return x0 + margin + x / most * (width - 2 * margin)

        def to_y(y: float, y0: int = y0, most: float = max(ys)) -> float:
            return y0 + height - margin - y / most * (height - 2.4 * margin)

        parts.append(_text(x0 + margin, y0 + 16, title, weight="bold"))
        parts.append(
            f'<path d="M{to_x(0):.1f} {to_y(max(ys)):.1f} V{to_y(0):.1f} H{to_x(max(xs)):.1f}" fill="none" '
            'stroke="#000"/>'
        )
        parts.append(_text(to_x(max(xs)), to_y(0) + 28, axis, "end"))
        parts.append(_text(to_x(0) - 5, to_y(max(ys)) + 4, f"{max(ys):.1f} s", "end"))
        parts += [_text(to_x(x), to_y(0) + 14, f"{x:g}", "middle") for x in sorted(set(xs))]
        for index, (name, points) in enumerate(lines.items()):
            colour = _COLOURS[index % 5]
            path = " L".join(f"{to_x(x):.1f} {to_y(y):.1f}" for x, y in sorted(points))
            parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [f'<circle cx="{to_x(x):.1f}" cy="{to_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in points]
            parts.append(
                f'<rect x="{x0 + margin + 4}" y="{y0 + 22 + 14 * index}" width="10" height="10" fill="{colour}"/>'
            )
            parts.append(_text(x0 + margin + 18, y0 + 31 + 14 * index, name))
    total = -(-len(panels) // 2) * height
    return "\n".join(
        [
            _HEAD.format(width=2 * width, height=total),
            _LICENCE,
            '<rect width="100%" height="100%" fill="#fff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )
