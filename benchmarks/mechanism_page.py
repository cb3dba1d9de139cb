"""From the pieces of `mechanisms.py` to its page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from networks import ROOT

PAGE = ROOT / "docs" / "benchmarks" / "mechanisms.md"

Pieces = dict[str, dict[str, Any]]

GROUPED = ("merged", "shortcuts", "vgg")

PARTIAL = ("spectral, input relevance", "ours, core, own number")
"""Methods that are not run on every cell."""

CUT_COLUMNS = ("network", "layer", "marked", "neurons", "reach", "pulled over", "plain")

TAKEN, SPARED = 0.5, 0.1
"""Probability that a cut is to take from what the mark brought, and may take from other images."""

LEAST_CUT = 0.9
"""AMI from which a planted shortcut counts as found."""


def write_page(pieces: Pieces) -> None:
    lines = ["---", "orphan: true", "---", "", "# Mechanisms with a known answer", ""]
    lines += ["Written by `benchmarks/mechanisms.py`, from what is measured so far."]
    cells, methods = groups_table(pieces)
    if len(cells):
        lines += summary(cells, methods)
        lines += merged_section(cells)
        lines += shortcut_section(cells)
    lines += single_section(pieces)
    lines += cuts_section(pieces)
    lines += graded_section(pieces)
    lines += edges_section(pieces)
    lines += circuits_section(pieces)
    lines += foreign_section(pieces)
    PAGE.write_text("\n".join(lines) + "\n")


def groups_table(pieces: Pieces) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per cell of the parts with known groups; and per cell, the AMI of each method."""
    rows, columns = [], {}
    for name, piece in pieces.items():
        part, network, group, layer = (*name.split(" | "), "", "", "")[:4]
        if part not in GROUPED or "default" not in piece.get("ours", {}):
            continue
        own, about = piece["ours"], piece["about"]
        found = piece.get("others", {}).get("methods", {})
        columns[name] = {
            "ours, own number": own["default"]["ami"],
            "ours, core, own number": own.get("core", {}).get("ami", np.nan),
            "ours, told the number": own["given"]["ami"],
            **{method: value["ami"] for method, value in found.items()},
        }
        best = max(found, key=lambda method: found[method]["ami"]) if found else ""
        rows.append(
            {
                "cell": name,
                "part": part,
                "network": network,
                "class": group,
                "layer": layer,
                **{key: own[key] for key in ("width", "searching", "audited")},
                **{f"about {key}": value for key, value in about.items() if key != "code"},
                **{
                    f"{kind} {key}": value
                    for kind in ("default", "core", "given")
                    for key, value in own.get(kind, {}).items()
                },
                **{key: own.get(key) for key in ("cut", "best cut")},
                "best": best,
                "best ami": found[best]["ami"] if best else np.nan,
                "best seconds": found[best]["seconds"] if best else np.nan,
            }
        )
    cells = pd.DataFrame(rows)
    if len(cells):
        support = cells.groupby(["network", "class"])["default support"]
        # Of equal layers the later one leads, as in `discover_mechanisms`.
        last = support.transform(lambda own: own[::-1].idxmax())
        cells["leads"] = last.to_numpy() == cells.index.to_numpy()
    return cells, pd.DataFrame(columns).T


def summary(cells: pd.DataFrame, methods: pd.DataFrame) -> list[str]:
    """Every method over all cells."""
    complete = methods.drop(columns=list(PARTIAL), errors="ignore").dropna()
    lines = ["", "## All methods", ""]
    lines.append(
        f"AMI over the {len(complete)} cells (network, class, layer) of merged classes and planted "
        "shortcuts where every method was run. All but ours and HDBSCAN are told the number of "
        "groups. Spectral clustering of input relevance sees no layer: one value for each network "
        "and class. Cores were not searched for planted shortcuts."
    )
    audited = int(cells["audited"].sum())
    lines += ["", f"Critical neurons were found with audits, by default, in {audited} of "]
    lines[-1] += (
        f"{len(cells)} cells; in the others with floor 0.1 and no dither, which audits choose for "
        "most layers of such networks. Ours takes the critical neurons (or their core), and the "
        "layer by itself."
    )
    lines += ["", "| method | mean AMI | least | cells |", "| --- | --- | --- | --- |"]
    values = {name: complete[name] for name in complete.columns}
    for name in PARTIAL:
        if name in methods and methods[name].notna().any():
            values[name] = methods[name].dropna()
    for name in sorted(values, key=lambda name: -values[name].mean()):
        own = values[name]
        lines.append(f"| {name} | {own.mean():.3f} | {own.min():.3f} | {len(own)} |")
    return lines


def merged_section(cells: pd.DataFrame) -> list[str]:
    some = cells[cells["part"].isin(["merged", "vgg"])]
    if some.empty:
        return []
    lines = ["", "## Merged classes", ""]
    lines.append(
        "LeNets that tell parity or multiples of five, trained so or with a head on a network that "
        "tells ten digits: does each class fall into its digits? ResNet-20 with its ten classes "
        "merged, against the class that it predicted before; VGG11 told only animal or vehicle, "
        "against the true class. AMI (number chosen). `*`: the layer that "
        "leads by its support. Neurons: in the core, of all."
    )
    lines += [
        "",
        "| network | class (groups) | layer | ours | from the core | neurons | told the number "
        "| best of the others | seconds, searching + grouping |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for _, one in some.iterrows():
        star = "*" if one["leads"] else ""
        layer = one["layer"].removeprefix("network.")
        searching = "-" if pd.isna(one["searching"]) else f"{one['searching']:.0f}"
        lines.append(
            f"| {one['network']} | {one['class']} ({one['about groups']}) | {layer}{star} "
            f"| {one['default ami']:.3f} ({one['default number']}) "
            f"| {one['core ami']:.3f} ({one['core number']:.0f}) "
            f"| {one['core neurons']:.0f} / {one['width']} | {one['given ami']:.3f} "
            f"| {other(one)} | {searching} + {one['default seconds']:.0f} |"
        )
    return lines


def other(one: pd.Series) -> str:
    return f"{one['best ami']:.3f} ({one['best']})" if one["best"] else "not run"


def shortcut_section(cells: pd.DataFrame) -> list[str]:
    some = cells[cells["part"] == "shortcuts"]
    if some.empty:
        return []
    led = some[some["leads"]]
    measured = led["best cut"].dropna()
    parted = int((measured >= LEAST_CUT).sum())
    lines = ["", "## Planted shortcuts", ""]
    lines.append(
        "A mark on a share of one class's training images, some of which show other classes. "
        "Flipped: of the test images of other classes, the share that the mark alone turns into "
        "the class. AMI of marked and unmarked "
        "with our groups (number chosen), with two imposed, with the best branch of the tree "
        f"against the rest. `*`: the layer that leads. At it the tree parts {parted} of "
        f"{len(measured)} with AMI at least {LEAST_CUT} ({len(led)} networks measured)."
    )
    lines += [
        "",
        "| network and class | accuracy | flipped | layer | ours | two imposed | tree "
        "| best of the others |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for _, one in some.iterrows():
        tree = "-" if pd.isna(one["best cut"]) else f"{one['best cut']:.3f}"
        layer = f"{one['layer']}{'*' if one['leads'] else ''}"
        lines.append(
            f"| {one['network'].removeprefix('shortcut-')} | {one['about accuracy']:.3f} "
            f"| {one['about flipped by the mark']:.2f} | {layer} "
            f"| {one['default ami']:.3f} ({one['default number']}) | {one['given ami']:.3f} "
            f"| {tree} | {other(one)} |"
        )
    return lines


def cuts_section(pieces: Pieces) -> list[str]:
    rows = []
    for name, piece in pieces.items():
        if "neurons" in piece.get("cut", {}):
            _, network, _, layer = name.split(" | ")
            rows.append({"network": network, "layer": layer, **piece["cut"]})
    if not rows:
        return []
    table = pd.DataFrame(rows).reindex(columns=[*CUT_COLUMNS])
    last = table.groupby("network")["reach"].transform(lambda own: own[::-1].idxmax())
    table["farthest"] = last.to_numpy() == table.index.to_numpy()
    led = table[table["farthest"]]
    held = int(((led["pulled over"] >= TAKEN) & (led["plain"] <= SPARED)).sum())
    lines = ["", "## The causal check of planted shortcuts", ""]
    lines.append(
        "The branch of the tree that parts marked and unmarked images best is cut. Mean "
        "probability of the class that this takes from marked images of other classes that the "
        "mark had pulled over, and from plain images of the class; neither had a part in choosing "
        "the cut. `*`: the layer whose cut reaches farthest on the samples that chose it. At it "
        f"{held} of {len(led)} cuts take at least {TAKEN} and at most {SPARED}."
    )
    lines += ["", "| network | layer | marked | neurons | reach | pulled over | plain |"]
    lines.append("| --- " * 7 + "|")
    for _, one in table.iterrows():
        star = "*" if one["farthest"] else ""
        numbers = [_figure(one[key]) for key in ("reach", "pulled over", "plain")]
        lines.append(
            f"| {one['network'].removeprefix('shortcut-')} | {one['layer']}{star} "
            f"| {one['marked']:.2f} | {one['neurons']} | " + " | ".join(numbers) + " |"
        )
    return lines


def edges_section(pieces: Pieces) -> list[str]:
    found = [p["ours"] for name, p in pieces.items() if name.startswith("edges") and "ours" in p]
    if not found:
        return []
    table = pd.DataFrame(found)
    wrong, power = table["wrong"], table["power"].dropna()
    lines = ["", "## Edges", ""]
    lines.append(
        f"Networks whose weights are written down, {len(table)} of them; edges from the first "
        "layer to the units of the second that were named, at level 0.10: "
        f"{wrong.mean():.3f} +- {wrong.std(ddof=1) / len(wrong) ** 0.5:.3f} wrong, power "
        f"{power.mean():.3f} ({table['named'].mean():.1f} edges named)."
    )
    return lines


def circuits_section(pieces: Pieces) -> list[str]:
    rows = [
        {"network": name.split(" | ")[1], "class": name.split(" | ")[2], **piece["ours"]}
        for name, piece in pieces.items()
        if name.startswith("circuits") and "circuit" in piece.get("ours", {})
    ]
    if not rows:
        return []
    table = pd.DataFrame(rows)
    ways = ("circuit", "critical", "NeurFlow", "random")
    lines = ["", "## What circuits carry", ""]
    lines.append(
        "All neurons of the studied layers held at their mean, but those of one mechanism's "
        "circuit: the share of the class's probability that is kept on the mechanism's own images, "
        "none of which chose a neuron of NeurFlow's; mean over mechanisms. Beside it as many "
        "neurons of each layer: the most critical of the class, NeurFlow's core neurons (by "
        "integrated gradients from the class downwards), and random ones. Neurons: in a circuit."
    )
    lines += ["", "| network | class | mechanisms | neurons | " + " | ".join(ways) + " |"]
    lines.append("| --- " * (4 + len(ways)) + "|")
    for _, one in table.iterrows():
        values = [_figure(one[way]) for way in ways]
        lines.append(
            f"| {one['network']} | {one['class']} | {one['mechanisms']} | {one['neurons']:.1f} | "
            + " | ".join(values)
            + " |"
        )
    return lines


def foreign_section(pieces: Pieces) -> list[str]:
    rows = [
        (*name.split(" | ")[1:], piece["ours"])
        for name, piece in pieces.items()
        if name.startswith("foreign") and "auroc" in piece.get("ours", {})
    ]
    if not rows:
        return []
    lines = ["", "## Foreign inputs", ""]
    lines.append(
        "Fashion-MNIST through LeNet, and ImageNet photographs at 32 x 32 through ResNet-20: of "
        "those taken for the class, how well low typicality tells them from its own samples, at "
        "the layer that leads. AUROC with its standard error; flagged: typicality at most 0.05."
    )
    lines += ["", "| network | class | layer | mechanisms | own | foreign | AUROC | flagged |"]
    lines.append("| --- " * 8 + "|")
    for network, target, one in rows:
        lines.append(
            f"| {network} | {target} | {one['layer']} | {one['mechanisms']} | {one['own']} "
            f"| {one['foreign']} | {one['auroc']:.3f} +- {one['error']:.3f} "
            f"| {_figure(one['flagged'])} |"
        )
    return lines


def single_section(pieces: Pieces) -> list[str]:
    found = {
        name: piece["ours"]["numbers"]
        for name, piece in pieces.items()
        if name.startswith("single") and "numbers" in piece.get("ours", {})
    }
    if not found:
        return []
    split = {name: sum(number > 1 for number in numbers) for name, numbers in found.items()}
    cases = sum(len(numbers) for numbers in found.values())
    lines = ["", "## One mechanism", ""]
    lines.append(f"Data of a single group; {sum(split.values())} of {cases} are split.")
    lines += ["", "| shape | size | split | of |", "| --- | --- | --- | --- |"]
    for name, count in split.items():
        _, shape, size = name.split(" | ")
        lines.append(f"| {shape} | {size} | {count} | {len(found[name])} |")
    return lines


def graded_section(pieces: Pieces) -> list[str]:
    rows = []
    for name, piece in pieces.items():
        if name.startswith("graded") and "seconds" in piece.get("ours", {}):
            _, network, _, layer = name.split(" | ")
            known = piece.get("others", {}).get("orders", {})
            rows.append({"network": network, "layer": layer, **piece["ours"], **known})
    if not rows:
        return []
    table = pd.DataFrame(rows)
    others = [name for name in table.columns if name in set(_order_names(pieces))]
    last = table.groupby("network")["support"].transform(lambda own: own[::-1].idxmax())
    table["leads"] = last.to_numpy() == table.index.to_numpy()
    lines = ["", "## Hidden grades", ""]
    lines.append(
        "Networks told only whether an image is affected. Absolute Spearman correlation of an "
        "order of the affected images with their grade; n: mechanisms found. `*`: the layer that "
        "leads."
    )
    lines += ["", "| network | layer | n | `order` | " + " | ".join(others) + " |"]
    lines.append("| --- " * (4 + len(others)) + "|")
    led = table[table["leads"]].assign(network="mean over leading layers")
    mean = led.groupby("network")[["order", *others]].mean(numeric_only=False).reset_index()
    for _, one in pd.concat([table, mean]).iterrows():
        star = "*" if one.get("leads") is True or one.get("leads") == 1.0 else ""
        # The last row, the mean, is of no layer.
        layer, number = ("", "") if pd.isna(one["layer"]) else (one["layer"], int(one["number"]))
        values = [_figure(one.get(name)) for name in ("order", *others)]
        lines.append(
            f"| {one['network']} | {layer}{star} | {number} | " + " | ".join(values) + " |"
        )
    return lines


def _order_names(pieces: Pieces) -> list[str]:
    return [name for piece in pieces.values() for name in piece.get("others", {}).get("orders", {})]


def _figure(value: object) -> str:
    return "-" if value is None or pd.isna(value) else f"{value:.2f}"
