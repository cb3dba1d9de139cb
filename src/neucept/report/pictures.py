"""The pictures of the samples: which are shown, and within how many bytes."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from neucept.report.charts.samples_map import drawn
from neucept.report.reading import Subject
from neucept.report.words import count

HOVER_BYTES = 3_500_000
"""Bytes of pictures for the map at most."""

PICTURE_LIMIT = 8_000
"""Bytes of a picture beyond which it is left out; a thumbnail has half of it at most."""


def picture(subject: Subject, position: int) -> str:
    """The picture of a sample in base 64; "" where there is none or it may not be shown."""
    if not subject.images:
        return ""
    content = subject.study.thumbnail(position)
    if not content or len(content) > PICTURE_LIMIT:
        return ""
    return base64.b64encode(content).decode("ascii")


def address(encoded: str) -> str:
    """The data address of a picture in base 64; "" where there is none."""
    return f"data:image/webp;base64,{encoded}" if encoded else ""


def hover_pictures(subject: Subject, room: int) -> dict[str, str]:
    """Pictures for the map, within a number of bytes: prototypes first, then an even spread."""
    held: dict[str, str] = {}
    room = min(room, HOVER_BYTES)
    if not subject.images:
        return held
    for position in _by_use(subject):
        encoded = picture(subject, position)
        room -= len(encoded) + 16
        if encoded and room < 0:
            break
        if encoded:
            held[str(position)] = encoded
    return held


def _by_use(subject: Subject) -> Iterator[int]:
    table = drawn(subject)
    yield from subject.typical
    shown = set(subject.typical)
    rest = [int(p) for p in table["position"] if int(p) not in shown]
    # Every k-th sample for shrinking k: whatever the room, those pictured are spread evenly.
    step = 1 << max(len(rest) - 1, 0).bit_length()
    taken: set[int] = set()
    while step >= 1:
        for index in range(0, len(rest), step):
            if index not in taken:
                taken.add(index)
                yield rest[index]
        step //= 2


def picture_note(subject: Subject, pictures: dict[str, str]) -> str:
    """What to say where not every point of the map has its picture; "" where each has."""
    shown = [int(p) for p in drawn(subject)["position"]]
    pictured = sum(str(p) in pictures for p in shown)
    if pictured == len(shown):
        return ""
    return (
        f"{count(pictured)} of the {count(len(shown))} points have a picture: the most typical "
        "samples and an even spread of the others, so that the page stays small."
    )
