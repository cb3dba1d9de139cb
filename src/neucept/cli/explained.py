"""What `neucept explain` shows and writes: a few lines for each sample, or a summary of all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from neucept.cli.screen import cells, console, one_line, table

if TYPE_CHECKING:
    import pandas as pd

    from neucept.study.explaining import Explanation
    from neucept.study.folder import Study

MOST_SHOWN = 20
"""Samples shown one by one; files hold them all."""


def show_explained(study: Study, explained: Explanation, *, every: bool) -> None:
    """Print what is behind each prediction on stdout; of all samples, by mechanism.

    Args:
        study: The study.
        explained: What was found.
        every: Whether all samples were asked for.
    """
    out = console()
    if every:
        _by_mechanism(out, study, explained)
        return
    neurons = dict(tuple(explained.neurons.groupby("position")))
    near = dict(tuple(explained.prototypes.groupby("position")))
    for row in explained.table.head(MOST_SHOWN).to_dict("records"):
        _sample(out, study, row)
        _neurons(out, row, neurons[row["position"]])
        if row["position"] in near:
            told = near[row["position"]].to_dict("records")
            names = [_called(one["prototype"], one["prototype_id"]) for one in told]
            out.print(one_line(f"nearest prototypes: {', '.join(names)}"))
        out.print()
    if len(explained.table) > MOST_SHOWN:
        out.print(f"{len(explained.table) - MOST_SHOWN:,} more; --csv or --json writes them all.")


def show_reliability(explained: Explanation, foreign: Explanation | None) -> None:
    """Print how well low typicality finds what should not be relied on, where that can be told."""
    from neucept.study.reliability import reliability

    own = explained.table[explained.table["of_class"]]
    if len(own) and (foreign is not None or (own["label"] >= 0).any()):
        console().print(one_line(reliability(explained, foreign).summary()))


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table, atomically.

    Raises:
        StorageError: the file cannot be written.
    """
    from neucept.runtime import write_bytes

    write_bytes(path, frame.to_csv(index=False).encode(errors="surrogatepass"))


def write_json(explained: Explanation, path: Path) -> None:
    """Write everything that was found, sample by sample, atomically.

    Raises:
        StorageError: the file cannot be written.
    """
    from neucept.runtime import write_bytes

    rows = {row["position"]: row for row in _records(explained.table)}
    for name in ("neurons", "prototypes"):
        for row in rows.values():
            row[name] = []
        for row in _records(getattr(explained, name)):
            rows[row.pop("position")][name].append({k: v for k, v in row.items() if k != "id"})
    content = {
        "target": explained.target,
        "layers": list(explained.layers),
        "level": explained.level,
        "samples": list(rows.values()),
    }
    write_bytes(path, json.dumps(content, indent=1).encode())


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them: what is not known is null."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=10))
    return rows


def _sample(out: Console, study: Study, row: Mapping[Any, Any]) -> None:
    from neucept.report.words import letter, percent

    predicted = _class(study, row["prediction"])
    truth = f", labelled {_class(study, row['label'])}" if row["label"] >= 0 else ""
    out.print(
        one_line(
            f"sample {_called(row['position'], row['id'])}: predicted {predicted}{truth}, "
            f"confidence {percent(row['confidence'])}"
        ),
        style="bold",
    )
    against = f" against {letter(row['next'])}" if row["next"] >= 0 else ""
    out.print(
        one_line(
            f"mechanism {letter(row['mechanism'])}, membership {percent(row['membership'])}"
            f"{against}; typicality {row['typicality']:.3f}"
        )
    )
    if not row["of_class"]:
        target = study.info["target"]["name"]
        out.print(
            one_line(
                f"It is not predicted as '{target}', the class studied: the mechanism is only the "
                "nearest one."
            )
        )
    elif row["atypical"]:
        out.print("Atypical: unlike the samples of its mechanism. Do not rely on this prediction.")


def _neurons(out: Console, row: Mapping[Any, Any], found: pd.DataFrame) -> None:
    from neucept.report.sentences import sums_words
    from neucept.report.words import letter, number

    own = f"usual in {letter(row['mechanism'])}"
    if row["next"] < 0:
        # With one mechanism nothing was decided; what is left to tell is what makes it unusual.
        headings = ["layer", "neuron", "here", own, "distance"]
        shown = table(headings, headings[1:])
        for one in found.to_dict("records"):
            values = (number(one[name]) for name in ("value", "usual", "distance"))
            shown.add_row(*cells(one["layer"], one["neuron"], *values))
    else:
        other = f"usual in {letter(row['next'])}"
        headings = ["layer", "neuron", "here", own, other, "nats"]
        shown = table(headings, headings[1:])
        for one in found.to_dict("records"):
            values = (number(one[name]) for name in ("value", "usual", "usual_next"))
            shown.add_row(*cells(one["layer"], one["neuron"], *values, f"{one['nats']:+.2f}"))
    out.print(shown)
    if row["next"] >= 0:
        out.print(sums_words(row, float(found["nats"].sum())))


def _by_mechanism(out: Console, study: Study, explained: Explanation) -> None:
    from neucept.report.words import count, letter, percent

    frame = explained.table[explained.table["of_class"]]
    numbers = ("samples", "membership", "atypical", "accuracy")
    shown = table(("mechanism", *numbers), numbers)
    for mechanism in sorted(set(frame["mechanism"].tolist())):
        rows = frame[frame["mechanism"] == mechanism]
        known = rows[rows["label"] >= 0]
        right = float((known["label"] == known["prediction"]).mean()) if len(known) else None
        shares = percent(rows["membership"].mean()), percent(rows["atypical"].mean())
        shown.add_row(*cells(letter(mechanism), count(len(rows)), *shares, percent(right)))
    out.print(shown)
    target = study.info["target"]["name"]
    out.print(
        one_line(
            f"{len(frame):,} of {len(explained.table):,} samples are predicted as '{target}'; "
            f"{int(frame['atypical'].sum()):,} of them are atypical (typicality at most "
            f"{explained.level:g})."
        )
    )


def _called(position: int, name: str) -> str:
    return str(position) if name == str(position) else f"{position} ({name})"


def _class(study: Study, index: int) -> str:
    names = study.info.get("classes")
    return f"'{names[index]}'" if names and 0 <= index < len(names) else f"class {index}"
