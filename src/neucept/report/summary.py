"""The first screen in plain words: how many mechanisms, how sure, which neurons, what promise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from neucept.mechanisms.discover import KEPT
from neucept.report.associations import strongest
from neucept.report.charts.figure import mechanism_colour
from neucept.report.reading import BORDERLINE, Subject, found_words, optional, records
from neucept.report.words import (
    counted,
    known,
    letter,
    listed,
    percent,
    plain,
    score,
    shorten,
    small,
    stability_often,
    stability_word,
)

NAMED_NEURONS = 5
"""Neurons named per layer on the first screen."""

TINY_SHARE = 0.03
"""A mechanism with a smaller share of the samples is called small."""

DENSE, FEWEST_DENSE = 0.8, 5
"""Share of the tested neurons from which nearly all are critical, in layers of at least so many."""

ACCURACY_GAP = 0.05
"""A mechanism is less often right when it trails the others by this and by two standard errors."""


@dataclass(frozen=True)
class Tile:
    """One figure of the first screen: the number, what it counts, and a remark."""

    value: str
    label: str
    note: str


@dataclass(frozen=True)
class Share:
    """A mechanism's part of the samples, for the bar under the answer."""

    name: str
    colour: str
    share: float
    shown: str


@dataclass(frozen=True)
class Found:
    """The neurons of a layer in one line: its core first, where it has one.

    Attributes:
        layer: Its name.
        anchor: Its place on the page.
        core: How many neurons are in its core; 0 where there is none.
        count: How many neurons are critical.
        first: The first neurons of the core, or of the critical ones.
    """

    layer: str
    anchor: str
    core: int
    count: str
    first: str


@dataclass(frozen=True)
class Summary:
    """All that the first screen says."""

    byline: str
    question: str
    answer: str
    how_sure: str
    tiles: tuple[Tile, ...]
    shares: tuple[Share, ...]
    found: tuple[Found, ...]
    source: str
    promise: str
    audited: str
    remarks: tuple[str, ...]


def summary(subject: Subject) -> Summary:
    """The first screen of a study."""
    return Summary(
        byline=_byline(subject),
        question=_question(subject),
        answer=_answer(subject),
        how_sure=_how_sure(subject),
        tiles=tuple(_tiles(subject)),
        shares=tuple(_shares(subject)),
        found=tuple(_found(subject)),
        source=_source(subject),
        promise=_promise(subject),
        audited=audited(subject),
        remarks=tuple(_remarks(subject)),
    )


def _question(subject: Subject) -> str:
    rather = f" rather than “{subject.against}”" if subject.against else ""
    text = f"Is “{subject.target}” always predicted{rather} for the same reason?"
    if subject.around is None:
        return text
    sample = shorten(plain(str(subject.around["id"])), 40)
    return f"Around “{sample}”: {text[0].lower()}{text[1:]}"


def layer_anchor(subject: Subject, layer: str) -> str:
    """The name of a layer's place on the page; layer names themselves may hold anything."""
    names = [str(entry["name"]) for entry in subject.layers]
    return f"layer-{names.index(layer) + 1}"


def _byline(subject: Subject) -> str:
    info = subject.info
    name, made = plain(str(info.get("name") or "")), str(info.get("created") or "")[:10]
    samples = counted(int(info["n_samples"]), "sample")
    return " · ".join(part for part in (shorten(name, 60), samples, plain(made)) if part)


def _answer(subject: Subject) -> str:
    number = len(subject.study.mechanisms)
    if number == 0:
        return "This study cannot say: no mechanisms could be looked for."
    if subject.info.get("settings", {}).get("n_mechanisms", "auto") != "auto":
        return f"Split into {small(number)}, as asked: {_weakest(subject)[1]}."
    if number == 1:
        return "As far as this study can tell, yes: one mechanism."
    return _several(number, *_weakest(subject))


def _several(number: int, weakest: float | None, word: str) -> str:
    what = f"{small(number)} mechanisms were found"
    if weakest is None:
        return f"Probably not: {what}."
    if weakest >= 0.75:
        return f"No: {what}, and they are {word}."
    if weakest >= 0.6:
        return f"Probably not: {what}, {word}."
    return f"Unclear: {what}, but not all of them are stable."


def _weakest(subject: Subject) -> tuple[float | None, str]:
    """The stability of the least stable mechanism, and what it is called."""
    known_ones = subject.study.mechanisms["stability"].dropna()
    value = float(known_ones.min()) if len(known_ones) else None
    return value, stability_word(value)


def _how_sure(subject: Subject) -> str:
    message = plain(str(subject.info["mechanisms"].get("message") or ""))
    weakest, _ = _weakest(subject)
    if len(subject.study.mechanisms) < 2 or weakest is None:
        return message
    average = float(subject.study.mechanisms["stability"].mean())
    return (
        f"When halves of the samples are grouped anew, {stability_often(weakest)}: stability "
        f"{score(weakest)} for the weakest, {score(average)} on average, where 1 is best. {message}"
    ).strip()


def _tiles(subject: Subject) -> Iterator[Tile]:
    info = subject.info
    number = len(subject.study.mechanisms)
    weakest, word = _weakest(subject)
    if number == 1:
        yield Tile("1", "mechanism", "no second one held")
    elif number:
        yield Tile(str(number), "mechanisms", f"{word}, weakest {score(weakest)}")
    else:
        yield Tile("none", "mechanisms", "nothing to group by")
    yield _neurons(subject)
    predicted = int(info["n_predicted"])
    called = f"predicted “{shorten(subject.target, 24)}”"
    if subject.around is None:
        yield Tile(f"{predicted:,}", "samples", f"{called}, of {int(info['n_samples']):,}")
    else:
        studied = f"{int(subject.around['samples']):,}"
        yield Tile(studied, "samples", f"nearest to one, of {predicted:,} {called}")
    accuracy = optional(info.get("accuracy"))
    if accuracy is None:
        yield Tile("unknown", "accuracy", "the samples have no labels")
    else:
        yield Tile(percent(accuracy), "accuracy", "of the network on all samples")
    if promised(subject):
        level = percent(float(info["settings"]["fdr"]))
        audits = [entry.get("audit") for entry in subject.layers]
        if not any(audits):
            state = "promised per layer, not audited yet"
        elif all(audit and audit["passes"] for audit in audits):
            state = "promised per layer, and audited"
        elif any(audit and not audit["passes"] for audit in audits):
            state = "asked for; the audit does not support it on every layer"
        else:
            state = "promised per layer, audited on some"
        yield Tile(f"≤ {level}", "of critical neurons wrong", state)


def _neurons(subject: Subject) -> Tile:
    """The cores, where each layer with critical neurons has one; else the critical neurons."""
    found = sum(int(entry["selected"]) for entry in subject.layers)
    neurons = sum(int(entry["neurons"]) for entry in subject.layers)
    where = f"{neurons:,} in {counted(len(subject.layers), 'layer')}"
    cores = [len(subject.core(str(e["name"]))) for e in subject.layers if int(e["selected"])]
    if not cores or not all(cores):
        return Tile(f"{found:,}", _plural("critical neuron", found), f"of {where}")
    core = sum(cores)
    return Tile(f"{core:,}", _plural("core neuron", core), f"of {found:,} critical, {where}")


def _plural(word: str, items: int) -> str:
    return word if items == 1 else f"{word}s"


def promised(subject: Subject) -> bool:
    """Whether the way neurons were selected carries a promise at all."""
    counted_passes = any(entry.get("aggregate") == "frequency" for entry in subject.layers)
    return subject.info.get("settings", {}).get("fdr") is not None and not counted_passes


def _shares(subject: Subject) -> Iterator[Share]:
    for row in records(subject.study.mechanisms):
        share = float(row.share)
        number = int(row.mechanism)
        yield Share(letter(number), mechanism_colour(number), round(100 * share, 2), percent(share))


def _found(subject: Subject) -> Iterator[Found]:
    for entry in subject.layers:
        layer = str(entry["name"])
        neurons = subject.core(layer) or subject.selected(layer)
        first = ", ".join(str(neuron) for neuron in neurons[:NAMED_NEURONS])
        more = len(neurons) - NAMED_NEURONS
        if more > 0:
            first += f" and {more} more"
        yield Found(
            layer=shorten(plain(layer), 40),
            anchor=layer_anchor(subject, layer),
            core=len(subject.core(layer)),
            count=found_words(subject, entry),
            first=first or "none reached the level",
        )


def _source(subject: Subject) -> str:
    layers = [
        shorten(plain(str(name)), 40) for name in subject.info["mechanisms"].get("layers") or []
    ]
    if not layers or not len(subject.study.mechanisms):
        return ""
    word = "layer" if len(layers) == 1 else "layers"
    used = set((subject.info["mechanisms"].get("used") or {}).values())
    what = f"core (grown to keep {percent(KEPT)})" if used == {"core"} else "critical neurons"
    return f"The mechanisms were read off the {what} of {word} {listed(layers)}."


def _promise(subject: Subject) -> str:
    if not promised(subject):
        return "The neurons were selected by how often they passed, which carries no promise."
    level = percent(float(subject.info["settings"]["fdr"]))
    groups = any(subject.groups(layer) for layer in subject.study.critical["layer"].unique())
    audits = [entry.get("audit") for entry in subject.layers]
    failed = any(audit and not audit["passes"] for audit in audits)
    start = "Asked for: in each layer," if failed else "In each layer,"
    expected = "" if failed else "are expected to be "
    return (
        f"{start} at most {level} of the neurons named {expected}wrong"
        f"{', a group of near-copies counting as one' * groups}."
    )


def audited(subject: Subject) -> str:
    """What planted targets said of the promise, over all layers; "" where nothing is promised."""
    if not promised(subject):
        return ""
    found = {str(entry["name"]): entry.get("audit") for entry in subject.layers}
    measured = {layer: audit for layer, audit in found.items() if audit}
    if not measured:
        return (
            "Whether it holds has not been audited on this network's layers yet: where the model "
            "of their activations is wrong, more may be wrong."
        )
    failing = [layer for layer, audit in measured.items() if not audit["passes"]]
    missing = [layer for layer in found if layer not in measured]
    rates = sorted(float(audit["fdr"]) for audit in measured.values())
    low, high = percent(rates[0]), percent(rates[-1])
    span = low if low == high else f"{low} to {high}"
    text = f"Audited with targets of a known answer: {span} wrong by layer."
    if failing:
        text += f" It is not supported on {_layers(failing)}: take the neurons there as candidates."
    if missing:
        text += f" Not audited: {_layers(missing)}."
    return text


def _layers(names: list[str]) -> str:
    return listed([shorten(plain(name), 40) for name in names])


def _remarks(subject: Subject) -> Iterator[str]:
    table = subject.study.mechanisms
    if subject.around is not None:
        yield _local(subject.around)
    yield from strongest(subject)
    if len(table) > 1:
        yield from _less_right(subject)
        unsure = [letter(int(r.mechanism)) for r in records(table) if r.stability < 0.6]
        if unsure:
            verb = "is" if len(unsure) == 1 else "are"
            yield f"{listed(unsure)} {verb} unstable: treat with care."
        tiny = [letter(int(r.mechanism)) for r in records(table) if r.share < TINY_SHARE]
        if tiny:
            verb = "is" if len(tiny) == 1 else "are"
            yield f"{listed(tiny)} {verb} small: under {percent(TINY_SHARE)} of the samples."
        unclear = int((subject.explained["membership"] < BORDERLINE).sum())
        if unclear:
            samples = counted(unclear, "sample")
            verb = "is" if unclear == 1 else "are"
            yield f"{samples} {verb} borderline: another mechanism is nearly as likely."
    yield from _unspecific(subject)
    empty = [e for e in subject.layers if not int(e["selected"])]
    if empty:
        names = listed([shorten(plain(str(entry["name"])), 40) for entry in empty])
        yield f"No neuron reached the level in {names}; the section on layers says why."


def _local(around: Mapping[str, Any]) -> str:
    samples = counted(int(around["samples"]), "sample")
    message = plain(str(around.get("message") or ""))
    return (
        f"This study is about the {samples} nearest to “{shorten(plain(str(around['id'])), 40)}” "
        f"alone. They vary {percent(float(around['spread']))} as much as all that are predicted "
        f"alike. {message}"
    ).strip()


def _unspecific(subject: Subject) -> Iterator[str]:
    """Layers in which the selection says little: all neurons are critical, or move as one."""
    dense = []
    for entry in subject.layers:
        layer, neurons = str(entry["name"]), int(entry["neurons"])
        tested = int(entry.get("tested", neurons))
        together = max((len(group) for group in subject.groups(layer)), default=0)
        if neurons > 2 and together >= neurons / 2:
            name = shorten(plain(layer), 40)
            yield f"{together} of the {neurons} neurons of {name} move together and count as one."
        elif tested >= FEWEST_DENSE and len(subject.distinct(layer)) >= DENSE * tested:
            dense.append(shorten(plain(layer), 40))
    if dense:
        yield (
            f"Nearly every neuron of {listed(dense)} is critical. With many samples that is usual, "
            f"since few neurons tell nothing at all; {_instead(subject)}."
        )


def _instead(subject: Subject) -> str:
    if any(subject.core(str(entry["name"])) for entry in subject.layers):
        return "the core says how few suffice"
    return "their scores rank them"


def _less_right(subject: Subject) -> Iterator[str]:
    table = subject.study.mechanisms
    total, right = float(table["size"].sum()), float((table["accuracy"] * table["size"]).sum())
    if not known(right):
        return
    for row in records(table):
        rest = total - float(row.size)
        if rest <= 0 or not row.size:
            continue
        own, others = float(row.accuracy), (right - float(row.accuracy * row.size)) / rest
        error = math.sqrt(own * (1 - own) / row.size + max(others * (1 - others), 0.0) / rest)
        if others - own >= max(ACCURACY_GAP, 2 * error):
            yield (
                f"{letter(int(row.mechanism))} is right less often than the others: "
                f"{percent(own)} against {percent(others)} of its samples are really "
                f"“{subject.target}”."
            )
