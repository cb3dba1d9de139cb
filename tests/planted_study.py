"""A study made up from a seed, with everything the page reads, for tests that need no network."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

CRITICAL_COLUMNS = ["layer", "neuron", "selected", "e_value", "score", "frequency", "note"]
EDGE_COLUMNS = ["layer", "neuron", "target_layer", "target_neuron", "selected", "e_value", "score"]
KEPT_COLUMNS = ["layer", "size", "neuron", "kept", "measured"]
ABLATION_COLUMNS = ["layer", "mode", "keep", "order", "repeat", "k", "share"]
ABLATION_COLUMNS += ["unchanged", "probability"]
ASSOCIATION_COLUMNS = ["mechanism", "column", "category", "kind", "samples", "missing", "inside"]
ASSOCIATION_COLUMNS += ["outside", "effect", "measure", "test", "p_value", "q_value", "note"]
CUT_COLUMNS = ["cut", "mechanism", "neurons", "samples", "probability", "loss", "loss_low"]
CUT_COLUMNS += ["loss_high", "changed", "changed_low", "changed_high", "moved"]
TREE_COLUMNS = ["step", "first", "second", "node", "height", "size", "mechanism"]


@dataclass
class PlantedStudy:
    """Stands where a finished study stands: the same attributes, held in memory."""

    info: dict[str, Any]
    critical: pd.DataFrame
    edges: pd.DataFrame
    mechanisms: pd.DataFrame
    signature: pd.DataFrame
    choice: pd.DataFrame
    ablation: pd.DataFrame
    samples: pd.DataFrame
    kept: pd.DataFrame
    associations: pd.DataFrame
    tree: pd.DataFrame
    selectivity: pd.DataFrame
    pictures: dict[int, bytes] = field(default_factory=dict)

    def thumbnail(self, position: int) -> bytes | None:
        return self.pictures.get(int(position))


def planted_study(
    *,
    seed: int = 0,
    n_samples: int = 300,
    layers: Sequence[tuple[str, int, int]] = (("features.3", 24, 7), ("classifier.0", 84, 12)),
    n_mechanisms: int = 3,
    target: str | None = "even",
    classes: Sequence[str] | None = ("even", "odd"),
    labelled: bool = True,
    pictures: int | None = None,
    picture_size: int = 32,
    ablation: bool = True,
    route: str = "chain",
    ids: Sequence[str] | None = None,
    audited: bool = True,
    core: bool = True,
    metadata: bool = True,
    tree: bool = True,
    wrong: int | None = None,
) -> PlantedStudy:
    """A whole study.

    Args:
        seed: Everything derives from it.
        n_samples: Samples in the data; three in five of them are predicted as the target.
        layers: (name, neurons, selected) in order of execution.
        n_mechanisms: Mechanisms; 0 for a study in which none could be looked for.
        target: Name of the class; None when classes have no names.
        classes: Names, or None.
        labelled: Whether the truth is known.
        pictures: Most samples with a thumbnail; None for all, 0 for none.
        picture_size: Pixels along a side.
        ablation: Whether cuts were measured.
        route: "chain" or "direct".
        ids: One per sample; by default file names.
        audited: Whether the layers were audited; all but the first then pass.
        core: Whether cores were looked for.
        metadata: Whether metadata was given: a category that goes with the mechanisms, a number
            that does so less, and one that does not, and an id.
        wrong: Predictions said to be wrong in what is told of typicality; 30, or half, if None.
        tree: Whether there is a tree, of two leaves per mechanism, and an order.
    """
    rng = np.random.default_rng(seed)
    samples = _samples(rng, n_samples, n_mechanisms, labelled, ids)
    critical = _critical(rng, layers)
    used = layers[-1][0]
    mechanisms = _mechanisms(rng, samples, n_mechanisms, labelled)
    drawn = samples["position"].tolist()[: len(samples) if pictures is None else pictures]
    study = PlantedStudy(
        info=_info(
            layers,
            samples,
            n_samples,
            n_mechanisms,
            target,
            classes,
            labelled,
            used,
            route,
            audited,
        ),
        critical=critical,
        edges=_edges(rng, critical, layers, route),
        mechanisms=mechanisms,
        signature=_signature(rng, critical, used, n_mechanisms),
        choice=_choice(n_mechanisms),
        ablation=_ablation(rng, critical, layers) if ablation else _empty(ABLATION_COLUMNS),
        samples=samples,
        kept=_empty(KEPT_COLUMNS),
        associations=_empty(ASSOCIATION_COLUMNS),
        tree=_empty(TREE_COLUMNS),
        selectivity=_empty(CUT_COLUMNS),
    )
    if metadata:
        add_metadata(study)
    if n_mechanisms > 1:
        add_cuts(study, used)
    if labelled and n_mechanisms:
        study.info["reliability"] = _reliability(len(samples), wrong)
    if tree and n_mechanisms:
        add_tree(study)
    if core:
        add_cores(study)
    group = samples.set_index("position")["mechanism"]
    for position in drawn:
        study.pictures[position] = _picture(rng, int(group[position]), picture_size)
    return study


def _empty(columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame({name: [] for name in columns})


def _samples(
    rng: np.random.Generator, n: int, groups: int, labelled: bool, ids: Sequence[str] | None
) -> pd.DataFrame:
    rows = np.flatnonzero(np.arange(n) % 5 < 3)
    group = rng.choice(max(groups, 1), size=len(rows), p=_shares(groups))
    angle = 2 * np.pi * group / max(groups, 1) + 0.4
    spread = rng.normal(size=(len(rows), 2)) * 0.55
    membership = np.clip(1 - rng.exponential(0.05, size=len(rows)), 0.4, 1)
    right = rng.random(len(rows)) > np.where(group == groups - 1, 0.25, 0.04)
    names = ids if ids else [f"scans/site-{k % 4}/IMG_{k:05d}.png" for k in range(n)]
    table = pd.DataFrame(
        {
            "position": rows,
            "id": [names[k] for k in rows],
            "prediction": 0,
            "label": np.where(right, 0, 1) if labelled else -1,
            "mechanism": group,
            "membership": membership,
            "typicality": rng.random(len(rows)),
            "stability": np.clip(membership - 0.03, 0, 1),
            "map_x": 3 * np.cos(angle) + spread[:, 0],
            "map_y": 2.2 * np.sin(angle) + spread[:, 1],
        }
    )
    return table if groups else table.assign(mechanism=-1, map_x=np.nan, map_y=np.nan)


def _shares(groups: int) -> np.ndarray:
    weights = 0.75 ** np.arange(max(groups, 1))
    return weights / weights.sum()


def _critical(rng: np.random.Generator, layers: Sequence[tuple[str, int, int]]) -> pd.DataFrame:
    frames = []
    for name, neurons, selected in layers:
        order = rng.permutation(neurons)
        chosen = np.zeros(neurons, bool)
        chosen[order[:selected]] = True
        rank = np.empty(neurons)
        rank[order] = np.arange(neurons)
        score = np.where(chosen, 0.2 + np.exp(-rank / 4), rng.normal(0, 0.03, neurons))
        frequency = np.where(chosen, 1 - 0.4 * rank / max(neurons, 1), rng.random(neurons) * 0.2)
        e_value = np.where(chosen, neurons / 2 * frequency, frequency * (rng.random(neurons) < 0.2))
        note = np.full(neurons, "", dtype=object)
        if neurons > 20:
            silent = np.flatnonzero(~chosen)[:3]
            note[silent] = "never active"
            e_value[silent] = score[silent] = frequency[silent] = 0.0
        columns = [[name] * neurons, np.arange(neurons), chosen, e_value, score, frequency, note]
        frames.append(pd.DataFrame(dict(zip(CRITICAL_COLUMNS, columns, strict=True))))
    return pd.concat(frames, ignore_index=True)


def _selected(critical: pd.DataFrame, layer: str) -> list[int]:
    rows = critical[(critical["layer"] == layer) & critical["selected"]]
    return [int(k) for k in rows.sort_values("e_value", ascending=False)["neuron"]]


def _edges(
    rng: np.random.Generator,
    critical: pd.DataFrame,
    layers: Sequence[tuple[str, int, int]],
    route: str,
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    above: tuple[str, list[int]] = ("", [-1])
    for name, neurons, _ in reversed(layers):
        own = _selected(critical, name)
        for target in above[1]:
            for neuron in own:
                score = float(rng.exponential(0.3))
                chosen = score > 0.25 or above[0] == ""
                evidence = neurons * 2 * score if chosen else 0.0
                values = [name, neuron, above[0], target, chosen, evidence, score]
                rows.append(dict(zip(EDGE_COLUMNS, values, strict=True)))
        above = (name, own) if own and route == "chain" else ("", [-1])
    return pd.DataFrame(rows, columns=EDGE_COLUMNS)


def _mechanisms(
    rng: np.random.Generator, own: pd.DataFrame, groups: int, labelled: bool
) -> pd.DataFrame:
    rows = []
    for mechanism in range(groups):
        members = own[own["mechanism"] == mechanism].sort_values("typicality", ascending=False)
        rows.append(
            {
                "mechanism": mechanism,
                "size": len(members),
                "share": len(members) / max(len(own), 1),
                "stability": float(np.clip(0.97 - 0.11 * mechanism, 0.3, 1)),
                "accuracy": float((members["label"] == 0).mean()) if labelled else np.nan,
                "confidence": float(0.97 - 0.05 * rng.random()),
                "prototypes": json.dumps([int(p) for p in members["position"][:12]]),
            }
        )
    columns = ["mechanism", "size", "share", "stability", "accuracy", "confidence", "prototypes"]
    return pd.DataFrame(rows, columns=columns)


def _signature(
    rng: np.random.Generator, critical: pd.DataFrame, layer: str, groups: int
) -> pd.DataFrame:
    rows = []
    for mechanism in range(groups):
        for neuron in _selected(critical, layer):
            own, other = rng.normal(0, 1, 2)
            spread, others = rng.uniform(0.3, 0.8, 2)
            values = [own - spread, own, own + spread, other - others, other, other + others]
            names = ["low", "median", "high", "others_low", "others_median", "others_high"]
            row = {"mechanism": mechanism, "layer": layer, "neuron": neuron}
            row |= dict(zip(names, values, strict=True))
            rows.append(row | {"difference": (own - other) / ((spread + others) / 2)})
    columns = ["mechanism", "layer", "neuron", "low", "median", "high"]
    columns += ["others_low", "others_median", "others_high", "difference"]
    table = pd.DataFrame(rows, columns=columns)
    table["size"] = table["difference"].abs()
    return table.sort_values(["mechanism", "size"], ascending=[True, False]).drop(columns="size")


def _choice(groups: int) -> pd.DataFrame:
    if not groups:
        return _empty(["n", "stability", "stability_one", "criterion", "chosen"])
    n = np.arange(1, max(groups + 4, 6))
    return pd.DataFrame(
        {
            "n": n,
            "stability": np.where(n <= groups, 0.98 - 0.005 * n, 0.85 - 0.05 * (n - groups)),
            "stability_one": np.clip(1.05 - 0.12 * n, 0.3, 1),
            "gap": np.where(n <= groups, 0.002, 0.4),
            "criterion": -3.0 + 0.4 * np.minimum(n, groups) - 0.05 * n,
            "chosen": n == groups,
        }
    )


def _ablation(
    rng: np.random.Generator, critical: pd.DataFrame, layers: Sequence[tuple[str, int, int]]
) -> pd.DataFrame:
    rows: list[list[Any]] = []
    for name, neurons, selected in layers:
        if not selected:
            continue
        steps = sorted({round(s) for s in np.linspace(0, neurons, 11)} | {selected})
        for keep in (False, True):
            for repeat in range(21):
                order = "critical" if repeat == 0 else "random"
                pace = neurons / 12 if order == "critical" else neurons * rng.uniform(0.4, 0.7)
                for k in steps:
                    lost = 1 - np.exp(-((k / pace) ** 2))
                    value = round(200 * (lost if keep else 1 - lost)) / 200  # of 200 samples
                    row = [name, "resample", keep, order, max(repeat - 1, 0), k, k / neurons]
                    rows.append([*row, value, 0.1 + 0.85 * value])
    return pd.DataFrame(rows, columns=ABLATION_COLUMNS)


def _picture(rng: np.random.Generator, group: int, size: int) -> bytes:
    image = Image.new("L", (size, size), 24)
    draw = ImageDraw.Draw(image)
    a, b = sorted(rng.integers(size // 8, size - size // 8, 2).tolist())
    box = (a // 2 + 2, a // 2 + 2, max(b, a // 2 + size // 4), max(b, a // 2 + size // 4))
    shapes = (draw.ellipse, draw.rectangle, draw.line)
    shapes[group % 3](box, fill=230, width=3) if group % 3 == 2 else shapes[group % 3](box, 200)
    noise = rng.normal(0, 14, (size, size))
    pixels = np.clip(np.asarray(image, float) + noise, 0, 255).astype(np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "WEBP", quality=80)
    return held.getvalue()


def _info(
    layers: Sequence[tuple[str, int, int]],
    samples: pd.DataFrame,
    n_samples: int,
    groups: int,
    target: str | None,
    classes: Sequence[str] | None,
    labelled: bool,
    used: str,
    route: str,
    audited: bool,
) -> dict[str, Any]:
    entries = []
    above, targets = "the class score", 1
    for name, neurons, selected in reversed(layers):
        empty = "Nothing was selected: 3 neurons have positive evidence and at least 2 must pass. "
        empty += "The smallest level that would have selected is 0.18."
        entries.append(
            {
                "name": name,
                "kind": "convolution" if "features" in name else "linear",
                "neurons": neurons,
                "selected": selected,
                "fewest": max(1, neurons // 16),
                "tested": neurons - (neurons > 20),
                "level": 0.05,
                "n_targets": targets,
                "fdr": 0.1,
                "aggregate": "e_values",
                "message": "" if selected else empty,
                "promise": "Of the neurons named, at most 10 % are expected to be wrong; wrong "
                f"means that, given the rest of the layer, it says nothing more about {above}.",
                "target": above,
                "samples": n_samples,
                "draws": 8,
                "knockoffs": 5,
                "sampler": {"kind": "gaussian", "shrinkage": 0.0123, "digest": "5d41402abc4b2a76"},
                "statistic": {"kind": "lasso", "folds": 5},
                "why": {"draws": "two seeds then agree well at a reasonable cost"},
                "dither": 0.5,
                "rows": n_samples,
                "audit": _audit(name != "classifier.0") if audited else None,
                "exchangeability": _exchangeability(name != "classifier.0") if audited else None,
                "set_aside": {"0": "never active"} if neurons > 20 else {},
                "groups": [[2, 5]] if neurons > 20 else [],
                "seconds": 3.2,
            }
        )
        if route == "chain":
            above = f"the {selected} critical neurons of {name}" if selected else "the class score"
            targets = selected or 1
    chosen = 0 if target is None or classes is None else list(classes).index(target)
    right = float((samples["label"] == 0).mean()) if labelled else None
    return {
        "format": 1,
        "neucept": "0.1.0",
        "versions": {"python": "3.11.2", "torch": "2.13.0", "numpy": "2.3.0"},
        "machine": "Linux x86_64, 2 cores",
        "created": "2026-11-23T08:15:00+00:00",
        "name": "LeNet",
        "target": {"index": chosen, "name": target if target is not None else str(chosen)},
        "classes": list(classes) if classes is not None else None,
        "n_samples": n_samples,
        "n_predicted": len(samples),
        "accuracy": right,
        "layers": entries[::-1],
        "mechanisms": {
            "n": groups,
            "stability": 0.92 if groups else None,
            "message": _message(groups),
            "layers": [used],
            "method": "mixture",
            "agreement": {"ami": 0.81, "homogeneity": 0.84} if labelled and groups > 1 else None,
        },
        "settings": {"fdr": 0.1, "route": route, "seed": 0, "pool": "mean", "layers": None},
        "seconds": {"capture": 4.1, "critical": 61.7, "mechanisms": 12.4, "ablation": 30.0},
        "model": {"name": "LeNet", "parameters": 61706, "training": False, "device": "cpu"},
        "identity": {"network": "9f2c41d8e07ab1c3", "inputs": "07ab1c39f2c41d8e"},
    }


def add_cores(study: PlantedStudy, keep: float = 0.9, most: float = 1.0) -> None:
    """Give every layer with critical neurons a core; all its neurons keep `most`."""
    frames = [_empty(KEPT_COLUMNS)]
    for entry in study.info["layers"]:
        spare = {member for group in entry["groups"] for member in group[1:]}
        # Another order than that of the evidence, as in life.
        grown = [k for k in _selected(study.critical, entry["name"]) if k not in spare][::-1]
        if not grown:
            continue
        sizes = np.arange(len(grown) + 1)
        kept = most * 1.05 * sizes / (sizes + 0.05 * len(grown))
        enough = np.flatnonzero(kept >= keep)
        size = int(enough[0]) if enough.size else len(grown)
        measured = (sizes % 3 == 0) | (sizes == size) | (sizes == len(grown))
        columns = [entry["name"], sizes, [-1, *grown], kept, measured]
        frames.append(pd.DataFrame(dict(zip(KEPT_COLUMNS, columns, strict=True))))
        entry["known"] = 0.97
        entry["core"] = {"neurons": grown[:size], "keep": keep, "kept": float(kept[size])}
    study.kept = pd.concat(frames[1:] or frames, ignore_index=True)


def _reliability(samples: int, asked: int | None) -> dict[str, Any]:
    wrong = min(30, samples // 2) if asked is None else asked
    bands = []
    for low, high, part, share in ((0, 0.05, 0.1, 0.5), (0.05, 0.2, 0.1, 0.2), (0.2, 1, 0.8, 0.1)):
        size = round(samples * part)
        band = {"low": low, "high": high, "samples": size, "wrong": round(size * share)}
        bands.append({**band, "share": share, "share_low": share - 0.08, "share_high": share + 0.1})
    return {
        "level": 0.05,
        "auroc": 0.81,
        "error": 0.03,
        "wanted": wrong,
        "others": samples - wrong,
        "flagged": 0.4,
        "flagged_others": 0.04,
        "bands": bands,
    }


def add_cuts(study: PlantedStudy, layer: str) -> None:
    """A cut for each mechanism but the last, which takes most of it and little of the others."""
    groups = len(study.mechanisms)
    rows: list[list[float]] = []
    cuts: list[dict[str, Any]] = []
    for cut in range(groups):
        neurons = [3 + cut, 17][: 1 + (cut == 0)] if cut < groups - 1 else []
        cuts.append({"neurons": neurons, "message": "" if neurons else "No set did.", "reach": 0.7})
        for k in range(groups if neurons else 0):
            taken = 0.83 if k == cut else 0.02 + 0.01 * k
            span = [taken, taken - 0.02, min(taken + 0.05, 1.0)]
            span = [round(end, 4) for end in span]
            rows.append([cut, k, len(neurons), 50, 0.95, *span, *span, taken + 0.05])
    study.info["selectivity"] = {"layer": layer, "message": "", "cuts": cuts}
    study.selectivity = pd.DataFrame(rows, columns=CUT_COLUMNS)


def add_tree(study: PlantedStudy) -> None:
    """Lay the samples out mechanism by mechanism, and join A and B first, C to them, and so on."""
    table, groups = study.samples, len(study.mechanisms)
    rank = table.sort_values(["mechanism", "membership", "position"]).index
    order = pd.Series(np.linspace(0, 1, len(table)), index=rank)
    half = table.groupby("mechanism")["membership"].rank(method="first", pct=True) > 0.5
    study.samples = table.assign(order=order, leaf=2 * table["mechanism"] + half)
    rows: list[list[float]] = []
    for k in range(groups):
        size = int((table["mechanism"] == k).sum())
        rows.append([k, 2 * k, 2 * k + 1, 2 * groups + k, 0.1 * (k + 1), size, k])
    top, size = 2 * groups, rows[0][5]
    for k in range(1, groups):
        size += rows[k][5]
        rows.append([len(rows), top, 2 * groups + k, 3 * groups + k - 1, 2.0 * k, size, -1])
        top = 3 * groups + k - 1
    whole = dict.fromkeys(["step", "first", "second", "node", "size", "mechanism"], int)
    study.tree = pd.DataFrame(rows, columns=TREE_COLUMNS).astype(whole)


def add_metadata(study: PlantedStudy, suffix: str = "") -> None:
    """Give the study metadata; `suffix` ends every name in it."""
    scanner, age, noise, file = (name + suffix for name in ("scanner", "age", "noise", "file"))
    study.info["metadata"] = {
        "columns": [scanner, age, noise, file],
        "groups": 48,
        "grouped_by": "patient" + suffix,
    }
    n, groups = len(study.samples), len(study.mechanisms)
    if groups < 2:
        return
    category, numbers = ["category", n, 0], ["number", n - 3, 3]
    alone = [np.nan] * 2
    rows: list[list[Any]] = [
        [-1, noise, "", *numbers, *alone, 0.02, "ranks", "permutation", 0.71, 0.74, ""],
        [-1, age, "", *numbers, *alone, 0.21, "ranks", "permutation", 0.002, 0.004, ""],
        [-1, scanner, "", *category, *alone, 0.63, "V", "permutation", 0.0001, 0.0003, ""],
        [
            -1,
            file,
            "",
            *category,
            *alone,
            np.nan,
            "",
            "",
            np.nan,
            np.nan,
            "set aside: it is the id",
        ],
    ]
    for k in range(groups):
        sure = [0.0001, 0.0004] if k < 2 else [0.3, 0.4]
        share, rest = (0.82, 0.11) if k < 2 else (0.3, 0.28)
        site = [k, scanner, f"site {k}{suffix}", *category, share, rest, share - rest]
        rows.append([*site, "shares", "Fisher's exact test", *sure, ""])
        older = [k, age, "", *numbers, 61.0 - k, 52.0, 0.3 - 0.2 * k, "delta", "permutation"]
        rows.append([*older, *sure, ""])
        rows.append([k, noise, "", *numbers, 0.1, 0.1, 0.0, "delta", "permutation", 0.9, 0.9, ""])
    study.associations = pd.DataFrame(rows, columns=ASSOCIATION_COLUMNS)


def _audit(passes: bool) -> dict[str, Any]:
    wrong = 0.04 if passes else 0.21
    return {
        "level": 0.1,
        "fdr": wrong,
        "fdr_error": 0.01,
        "power": 0.93,
        "passes": passes,
        "repeats": 2,
    }


def _exchangeability(passes: bool) -> dict[str, Any]:
    return {
        "auc": 0.507 if passes else 0.912,
        "auc_error": 0.0061,
        "z": 3.9 if passes else 12.0,
        "z_chance": 4.4,
        "moment": "variance of neuron 5",
    }


def _message(groups: int) -> str:
    if groups == 0:
        return "No layer has a critical neuron, so there was nothing to group by."
    return "" if groups > 1 else "Two groups were no more stable than one mechanism would give."
