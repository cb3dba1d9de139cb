"""What a finished study holds: the entries and columns that its readers may count on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from neucept.errors import StudyError

TABLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "critical": ("layer", "neuron", "selected", "e_value", "score", "frequency", "note"),
        "edges": (
            *("layer", "neuron", "target_layer", "target_neuron"),
            *("selected", "e_value", "score"),
        ),
        "kept": ("layer", "size", "neuron", "kept", "measured"),
        "mechanisms": (
            *("mechanism", "size", "share", "stability"),
            *("accuracy", "confidence", "prototypes"),
        ),
        "signature": (
            *("mechanism", "layer", "neuron", "low", "median", "high"),
            *("others_low", "others_median", "others_high", "difference"),
        ),
        "samples": (
            *("position", "id", "prediction", "label"),
            *("mechanism", "membership", "typicality", "map_x", "map_y"),
        ),
        "choice": ("n", "stability", "stability_one", "criterion", "chosen"),
        "ablation": ("layer", "mode", "keep", "order", "k", "unchanged"),
    }
)
"""Every table, with the columns it must have; it may have more."""

LATER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "tree": ("step", "first", "second", "node", "height", "size", "mechanism"),
        "associations": (
            *("mechanism", "column", "category", "kind", "samples", "missing", "inside"),
            *("outside", "effect", "measure", "test", "p_value", "q_value", "note"),
        ),
        "selectivity": (
            *("cut", "mechanism", "neurons", "samples", "probability", "loss", "loss_low"),
            *("loss_high", "changed", "changed_low", "changed_high", "moved"),
        ),
    }
)
"""Tables that earlier studies lack, or that only some studies have; read as empty where missing."""

_ENTRIES = {
    "neucept": str,
    "name": str,
    "n_samples": int,
    "n_predicted": int,
    "target": dict,
    "layers": list,
    "mechanisms": dict,
    "settings": dict,
}
_TARGET = {"index": int, "name": str}
_LAYER = {"name": str, "neurons": int, "selected": int, "sampler": dict}

_ANEW = "Run 'neucept run' again to make it anew."


def check_entries(place: Path, info: Mapping[str, Any]) -> None:
    """Refuse a ``study.json`` that says less than a finished study does.

    Args:
        place: The study folder.
        info: What its ``study.json`` says.

    Raises:
        StudyError: an entry is missing or of another type.
    """
    _check(place, "", info, _ENTRIES)
    _check(place, "target.", info["target"], _TARGET)
    for number, entry in enumerate(info["layers"]):
        _check(place, "layers.", {str(number): entry}, {str(number): dict})
        _check(place, f"layers.{number}.", entry, _LAYER)


def _check(place: Path, within: str, part: Mapping[str, Any], entries: Mapping[str, type]) -> None:
    for name, kind in entries.items():
        if name not in part:
            raise StudyError(f"'{place / 'study.json'}' has no '{within}{name}'. {_ANEW}")
        if not isinstance(part[name], kind):
            wrong = type(part[name]).__name__
            raise StudyError(f"'{place / 'study.json'}' has a {wrong} as '{within}{name}'. {_ANEW}")


def check_columns(place: Path, table: str, columns: Collection[str]) -> None:
    """Refuse a table without a column that it must have.

    Args:
        place: The study folder.
        table: The table's name.
        columns: Those it has.

    Raises:
        StudyError: as said.
    """
    for column in {**TABLES, **LATER}[table]:
        if column not in columns:
            raise StudyError(
                f"'{table}.parquet' of the study in '{place}' has no column '{column}'. {_ANEW}"
            )
