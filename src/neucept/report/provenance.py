"""Settings, versions, seeds and times: what it takes to repeat the study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from neucept.report.reading import Subject
from neucept.report.words import counted, plain, seconds, value_text

Rows = tuple[tuple[str, str], ...]

_NO_SEPARATOR = ("seed", "index", "format")


def provenance(subject: Subject) -> tuple[tuple[str, Rows], ...]:
    """Headed lists of names and values; empty ones are left out."""
    info = subject.info
    parts = (
        ("Study", tuple(_study(info))),
        ("Network", _rows(info.get("model"))),
        ("Content digests", _rows(info.get("identity"))),
        ("Settings", _rows(info.get("settings"))),
        (
            "Versions",
            _rows({"neucept": info.get("neucept"), **info.get("versions", {})}),
        ),
        ("Time", tuple(_times(info.get("seconds")))),
    )
    return tuple((heading, rows) for heading, rows in parts if rows)


def _study(info: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    target = info["target"]
    yield "name", plain(str(info.get("name", "")))
    against, around = target.get("against"), info.get("near")
    yield "class", _class(target) + (f" rather than {_class(against)}" if against else "")
    yield (
        "samples",
        f"{int(info['n_samples']):,} ({int(info['n_predicted']):,} predicted so)",
    )
    if around:
        yield "around", f"{plain(str(around['id']))} ({int(around['samples']):,} nearest)"
    yield from _metadata(info.get("metadata"))
    yield "method", plain(str(info["mechanisms"].get("method") or "none"))
    yield "made", plain(str(info.get("created", "")))
    yield "machine", plain(str(info.get("machine", "")))


def _metadata(entry: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if entry and entry.get("columns") is not None:
        yield "metadata", counted(len(entry["columns"]), "column")
    if entry and entry.get("groups"):
        by = plain(str(entry.get("grouped_by") or ""))
        yield "groups", f"{int(entry['groups']):,}" + (f", by {by}" if by else "")


def _class(named: Mapping[str, Any]) -> str:
    return f"{plain(str(named['name']))} (index {named['index']})"


def _rows(values: Mapping[str, Any] | None) -> Rows:
    return tuple(
        (plain(str(name)), str(value) if name in _NO_SEPARATOR else value_text(value))
        for name, value in (values or {}).items()
    )


def _times(spent: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if not spent:
        return
    for stage, value in spent.items():
        yield plain(str(stage)), seconds(float(value))
    yield "together", seconds(sum(float(value) for value in spent.values()))
