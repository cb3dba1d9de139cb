"""Where the samples of each mechanism of one study are in another: a band for each pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from neucept.report.charts.figure import INK, Figure, dataset, specification
from neucept.report.words import count, letter, percent

NONE = "none"
"""What samples without a mechanism are called."""

HEIGHT, MORE = 240, 16
"""Pixels of the chart, and more for each mechanism beyond four on the longer side."""

GAP = 0.025
"""Between two blocks, as a share of the height."""

BLOCK = 0.035
"""Width of a block, as a share of the width between the outer edges."""

SIDE = 0.4
"""Room for the names on either side, in the same unit."""

STEPS = 13
"""Points along a band."""


@dataclass(frozen=True)
class _Block:
    """A mechanism of one side: its name, colour, samples, and where it stands."""

    name: str
    colour: str
    samples: int
    top: float
    bottom: float


def flow(counts: np.ndarray, colours: Sequence[str], others: Sequence[str]) -> Figure:
    """The chart of a contingency table.

    Args:
        counts: Samples by mechanism of the first study (rows) and of the second (columns); the
            last row and column are those without a mechanism there, and their common cell is left
            out.
        colours: Of the first study's mechanisms, and last of those without one.
        others: The same for the second study.
    """
    held = np.array(counts, dtype=np.int64)
    held[-1, -1] = 0
    left = _blocks(held.sum(axis=1), colours, len(held.T))
    right = _blocks(held.sum(axis=0), others, len(held))
    spec = specification(
        _chart(max(len(left), len(right))),
        bands=_bands(held, left, right),
        blocks=_shown(left, 0.0, "first") + _shown(right, 1 - BLOCK, "second"),
    )
    pairs = [
        f"{count(int(held[i, j]))} from {left[i].name} to {right[j].name}"
        for i, j in np.argwhere(held > 0)
    ]
    caption = (
        "Left, the mechanisms of the first study; right, those of the second. A band is as wide as "
        "the samples that go from one to the other are many. “None” are samples that have no "
        "mechanism there, most often since that network predicts them otherwise."
    )
    description = f"Samples from mechanisms of the first study to the second: {'; '.join(pairs)}"
    return Figure("flow", "", "", caption, description, spec)


def _blocks(sums: np.ndarray, colours: Sequence[str], across: int) -> list[_Block]:
    """Blocks from top to bottom; both sides have the same scale and stand in the middle."""
    total = float(sums.sum()) or 1.0
    unit = (1 - GAP * (max(len(sums), across) - 1)) / total
    top = (1 - unit * float(sums.sum()) - GAP * (len(sums) - 1)) / 2
    blocks = []
    for at, (samples, colour) in enumerate(zip(sums.tolist(), colours, strict=True)):
        name = letter(at) if at < len(sums) - 1 else NONE
        blocks.append(_Block(name, colour, samples, top, top + unit * samples))
        top += unit * samples + GAP
    return blocks


def _bands(held: np.ndarray, left: list[_Block], right: list[_Block]) -> list[dict[str, Any]]:
    along = np.linspace(0, 1, STEPS)
    bend = along * along * (3 - 2 * along)
    starts, ends = [block.top for block in left], [block.top for block in right]
    rows = []
    for i, j in np.argwhere(held > 0).tolist():
        one, two, samples = left[i], right[j], int(held[i, j])
        high = (one.bottom - one.top) * samples / one.samples
        told = {
            "first": one.name,
            "second": two.name,
            "samples": count(samples),
            "share": f"{percent(samples / one.samples)} of first {one.name}",
        }
        band = {"band": f"{one.name} to {two.name}", "colour": one.colour, **told}
        for step, turn in zip(along.tolist(), bend.tolist(), strict=True):
            top = starts[i] + (ends[j] - starts[i]) * turn
            x = BLOCK + (1 - 2 * BLOCK) * step
            rows.append({**band, "x": x, "top": top, "bottom": top + high})
        starts[i] += high
        ends[j] += high
    return rows


def _shown(blocks: list[_Block], x: float, side: str) -> list[dict[str, Any]]:
    return [
        {
            "study": side,
            "mechanism": block.name,
            "samples": count(block.samples),
            "label": f"{block.name}: {count(block.samples)}",
            "colour": block.colour,
            "x": x,
            "to": x + BLOCK,
            "top": block.top,
            "bottom": block.bottom,
            "middle": (block.top + block.bottom) / 2,
        }
        for block in blocks
        if block.samples
    ]


def _chart(longest: int) -> alt.TopLevelMixin:
    across = alt.X("x:Q").axis(None).scale(domain=[-SIDE, 1 + SIDE], nice=False)
    down = alt.Y("top:Q").axis(None).scale(domain=[0, 1], nice=False, reverse=True)
    colour = alt.Color("colour:N").scale(None).legend(None)
    bands = (
        alt.Chart(dataset("bands"))
        .mark_area(aria=False, opacity=0.45)
        .encode(
            x=across,
            y=down,
            y2=alt.Y2("bottom:Q"),
            detail="band:N",
            color=colour,
            tooltip=[
                alt.Tooltip("first:N"),
                alt.Tooltip("second:N"),
                alt.Tooltip("samples:N"),
                alt.Tooltip("share:N"),
            ],
        )
    )
    base = alt.Chart(dataset("blocks")).encode(
        tooltip=[
            alt.Tooltip("study:N"),
            alt.Tooltip("mechanism:N"),
            alt.Tooltip("samples:N"),
        ]
    )
    blocks = base.mark_rect(aria=False).encode(
        x=across, x2=alt.X2("to:Q"), y=down, y2=alt.Y2("bottom:Q"), color=colour
    )
    layers = [bands, blocks]
    for side, edge, shift in (("first", "x", -7), ("second", "to", 7)):
        layers.append(
            base.transform_filter(alt.datum["study"] == side)
            .mark_text(
                aria=False,
                align="right" if shift < 0 else "left",
                dx=shift,
                fontSize=12,
                color=INK,
            )
            .encode(x=alt.X(f"{edge}:Q"), y=alt.Y("middle:Q"), text="label:N")
        )
    height = HEIGHT + MORE * max(0, longest - 4)
    return alt.layer(*layers).properties(width="container", height=height)
