"""Layer by layer: what was tested, what was found, what limits it, and what cutting it does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from neucept.report.charts.ablation import Curves, chance, curves_of
from neucept.report.cores import core_words
from neucept.report.reading import Subject, found_words, optional, records
from neucept.report.summary import layer_anchor
from neucept.report.words import (
    counted,
    listed,
    number,
    percent,
    plain,
    score,
    seconds,
    shorten,
    value_text,
)

MOST_ROWS, FEWEST_ROWS, ALL_ROWS = 400, 40, 5000
"""Rows of a layer's table at most, those it always has room for, and rows of all tables at most.

The study folder has the whole tables.
"""

FEWEST_OPEN, MOST_OPEN = 6, 12
"""Rows that stand open: the critical neurons, within these bounds; the rest unfolds."""


MOST_NAMED = 12
"""Neurons named of a group, or of those set aside for one reason."""


@dataclass(frozen=True)
class NeuronRow:
    """One neuron in a layer's table."""

    neuron: int
    selected: bool
    core: bool
    e_value: str
    frequency: str
    frequency_share: float
    score: str
    state: str


@dataclass(frozen=True)
class LayerView:
    """What the page says of one layer."""

    name: str
    key: str
    anchor: str
    kind: str
    headline: str
    core_size: int
    core: str
    tested: str
    target: str
    promise: str
    audit: str
    copies: str
    message: str
    facts: tuple[tuple[str, str, str], ...]
    first: tuple[NeuronRow, ...]
    first_title: str
    others: tuple[NeuronRow, ...]
    others_title: str
    aside: tuple[tuple[str, str], ...]
    groups: tuple[str, ...]
    cuts: tuple[str, ...]


def layer_views(subject: Subject) -> Iterator[LayerView]:
    """A view per layer, from the one nearest the prediction down."""
    cuts: dict[str, list[str]] = {}
    for layer, sentence in _cut_sentences(subject):
        cuts.setdefault(layer, []).append(sentence)
    for entry in subject.layers:
        layer = str(entry["name"])
        rows = tuple(_rows(subject, layer))
        selected = int(entry["selected"])
        left = int(entry["neurons"]) - len(rows)
        core = len(subject.core(layer))
        unfolded = min(max(selected, FEWEST_OPEN), MOST_OPEN)
        yield LayerView(
            name=shorten(plain(layer), 60),
            key=layer,
            anchor=layer_anchor(subject, layer),
            kind=plain(str(entry.get("kind", ""))),
            headline=found_words(subject, entry),
            core_size=core,
            core=core_words(subject, entry),
            tested=_tested(entry),
            target=plain(str(entry.get("target", "the class score"))),
            promise=plain(str(entry.get("promise") or "")),
            audit=audit_words(entry),
            copies=copies_words(entry),
            message=plain(str(entry.get("message") or "")),
            facts=tuple(_facts(entry)),
            first=rows[:unfolded],
            first_title=("The core first, then n" if core else "N") + "eurons with most evidence",
            others=rows[unfolded:],
            others_title=_others_title(rows[unfolded:], left),
            aside=tuple(_aside(entry)),
            groups=tuple(_some(group) for group in subject.groups(layer)),
            cuts=tuple(cuts.get(layer, [])),
        )


def audit_words(entry: Mapping[str, Any]) -> str:
    """What targets planted on the layer said of its promise, in a sentence or two."""
    found = entry.get("audit")
    if not found:
        return "Not audited on this layer yet."
    names = ("level", "fdr", "fdr_error", "power")
    level, wrong, error, power = (percent(float(found[name])) for name in names)
    measured = (
        f"Audited on this layer: asked for {level} wrong at most, measured {wrong} ± {error} on "
        f"targets with a known answer, of whose neurons {power} were found."
    )
    if found["passes"]:
        return measured
    return f"{measured} So the promise is not supported here: take the neurons as candidates."


def copies_words(entry: Mapping[str, Any]) -> str:
    """How well the knockoffs pass for the neurons, in a sentence; "" where it was not checked."""
    found = entry.get("exchangeability")
    if not found:
        return ""
    alike = float(found["z"]) <= float(found["z_chance"])
    moments = (
        "their means, variances and covariances differ by no more than chance"
        if alike
        else f"most of all they differ in the {plain(str(found['moment']))}, by more than chance"
    )
    # The error is rounded up, so that the sentence never sounds surer than the check is.
    error = math.ceil(round(100 * float(found["auc_error"]), 6)) / 100
    return (
        f"Copies and originals can be told apart with AUC {score(float(found['auc']))} ± "
        f"{score(error)} (0.5 is chance); {moments}."
    )


def _rows(subject: Subject, layer: str) -> Iterator[NeuronRow]:
    most = min(MOST_ROWS, max(FEWEST_ROWS, ALL_ROWS // len(subject.layers)))
    grouped = {
        member: f"one of {len(group)} that move together"
        for group in subject.groups(layer)
        if len(group) > 3
        for member in group
    }
    core = {neuron: place for place, neuron in enumerate(subject.core(layer))}
    ranked = subject.ranked(layer)
    order = ranked["neuron"].map(lambda neuron: core.get(int(neuron), len(core)))
    for row in records(ranked.loc[order.sort_values(kind="stable").index].head(most)):
        frequency = optional(row.frequency)
        yield NeuronRow(
            neuron=int(row.neuron),
            selected=bool(row.selected),
            core=int(row.neuron) in core,
            e_value=number(float(row.e_value)),
            frequency=percent(frequency),
            frequency_share=round(100 * min(max(frequency or 0.0, 0.0), 1.0), 1),
            score=number(float(row.score)),
            state=_state(
                bool(row.selected),
                int(row.neuron) in core,
                grouped.get(int(row.neuron), str(row.note or "")),
            ),
        )


def _others_title(rows: tuple[NeuronRow, ...], left: int) -> str:
    critical = sum(row.selected for row in rows)
    title = f"The other {counted(len(rows), 'neuron')}"
    if critical:
        title += f", {critical} of them critical"
    return title + (f" ({counted(left, 'more neuron')} not listed)" if left > 0 else "")


def _state(selected: bool, core: bool, note: str) -> str:
    states = ["critical"] if selected else [] if note else ["not selected"]
    states += ["in the core"] if core else []
    return ", ".join(states + ([shorten(plain(note), 60)] if note else []))


def _tested(entry: Mapping[str, Any]) -> str:
    tested = int(entry.get("tested", entry["neurons"]))
    text = f"{tested:,} tested"
    fewest = optional(entry.get("fewest"))
    if fewest is not None and fewest > 1:
        text += f", at least {math.ceil(fewest):,} or none could be named"
    return text


_FACTS = {
    "tested": "neurons tested",
    "samples": "samples used",
    "n_targets": "targets",
    "draws": "draws of knockoffs",
    "knockoffs": "knockoffs per draw",
    "sampler": "model of the activations",
    "statistic": "statistic",
    "level": "level within a draw",
    "dither": "dither",
    "floor": "floor",
}


def _facts(entry: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    reasons = entry.get("why") or {}
    for key, label in _FACTS.items():
        if entry.get(key) is not None:
            yield label, kind_text(entry[key]), plain(str(reasons.get(key, "")))
    if optional(entry.get("seconds")) is not None:
        yield "time", seconds(float(entry["seconds"])), ""


def kind_text(value: object) -> str:
    """A setting's value; of a model or a statistic its kind, then what it was fitted with."""
    if not isinstance(value, Mapping) or "kind" not in value:
        return value_text(value)
    rest = {name: held for name, held in value.items() if name not in ("kind", "digest")}
    return plain(str(value["kind"])) + (f" ({value_text(rest)})" if rest else "")


def _aside(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    by_reason: dict[str, list[int]] = {}
    for neuron, reason in (entry.get("set_aside") or {}).items():
        by_reason.setdefault(plain(str(reason)), []).append(int(neuron))
    for reason, neurons in by_reason.items():
        yield reason, _some(sorted(neurons))


def _some(neurons: list[int]) -> str:
    names = [str(neuron) for neuron in neurons[:MOST_NAMED]]
    more = len(neurons) - len(names)
    return listed(names) if more <= 0 else ", ".join(names) + f" and {more} more"


def _cut_sentences(subject: Subject) -> Iterator[tuple[str, str]]:
    several = subject.study.ablation["mode"].nunique() > 1
    for curves in curves_of(subject):
        # At all neurons there is no order left to compare, so never more than half of them.
        chosen = min(len(subject.selected(curves.layer)), int(curves.steps["k"].max()) // 2)
        steps = curves.steps[curves.steps["k"] > 0]
        if not chosen or steps.empty:
            continue
        nearest = int((steps["k"] - chosen).abs().to_numpy().argmin())
        yield curves.layer, _cut_sentence(subject, curves, next(records(steps[nearest:])), several)


def _cut_sentence(subject: Subject, curves: Curves, step: Any, several: bool) -> str:
    doing = "Keeping only" if curves.keep else "Cutting"
    how = f" ({curves.mode})" if several else ""
    if step.critical > step.high if curves.keep else step.critical < step.low:
        judged = "That is more than chance explains."
    elif step.low <= step.critical <= step.high:
        judged = "Chance would explain that."
    else:
        judged = "Random neurons do more."
    return (
        f"{doing} the {counted(int(step.k), 'neuron')} with most evidence{how} leaves "
        f"{percent(step.critical)} of the samples predicted {subject.predicted()}; as many at "
        f"random leave {chance(step)}. {judged}"
    )
