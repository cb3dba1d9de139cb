"""Do decoys pass for critical neurons? Real class scores, layers widened by known nulls.

Two layers of ResNet-20 and of a LeNet each get as many decoys as they have neurons. The critical
neurons of one class are then searched, with another seed for decoys and selection each time: by the
direct route on all rows, and along the chain with rows of its own for each layer. Told are the
share of decoys among the selected, and how many real neurons are selected beside those without
decoys. Dither and floor of a layer are chosen once, by audits, and serve all seeds.

    NEUCEPT_DATA=... python benchmarks/decoys.py [--seeds 20] [--cases resnet20:direct ...]

Finished pieces are kept in ``benchmarks/cache/decoys``, so a run that was cut short goes on.
Writes ``benchmarks/results/decoys.json`` and ``docs/benchmarks/decoys.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pandas as pd
from machine import machine
from networks import CACHE, ROOT, activations

import neucept as nc
from neucept.critical import CLASS_SCORE
from neucept.critical.layer import Targets, Work, distinct
from neucept.knockoffs import Choice, Selection, choose
from neucept.runtime import Checkpoints, derived_seed, digest, generator

FDR = 0.1
TARGET = 3
"""The class whose score is explained: cats, and threes."""

LAYERS = {"resnet20": ("layer2", "layer3"), "lenet": ("7", "10")}
CASES = ("lenet:direct", "resnet20:direct", "lenet:chain", "resnet20:chain")
LEAST_KEPT = 0.8
"""Real neurons selected beside decoys, at least, of those selected without."""

PIECES = Checkpoints(CACHE / "decoys")
VERSIONS = {"choice": 8, "found": 5}
"""Raised when what makes a piece changes, so that it is made again."""


def main() -> None:
    arguments = parse()
    begun = time.perf_counter()
    rows = []
    for case in arguments.cases:
        for seed in range(arguments.seeds):
            both = found(case, True, seed)
            if seed < arguments.plain:
                both += found(case, False, seed)
            rows += both
            print(f"{case} seed {seed}: {time.perf_counter() - begun:.0f} s")
            columns = ["layer", "widened", "dither", "floor", "targets", "real", "decoys"]
            print(pd.DataFrame(both)[columns].to_string(index=False), flush=True)
    failures = write(pd.DataFrame(rows), arguments)
    for line in failures:
        print(f"FAILED: {line}")
    sys.exit(bool(failures))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="with decoys")
    parser.add_argument("--plain", type=int, default=5, help="seeds without decoys")
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    parser.add_argument("--name", default="decoys")
    return parser.parse_args()


def recorded(network: str, widened: bool, seed: int) -> nc.Activations:
    acts = activations(network, LAYERS[network])
    return nc.decoy_activations(acts, seed=seed).acts if widened else acts


def settings(route: str, seed: int) -> nc.Search:
    return nc.Search(fdr=FDR, route=route, split=route == "chain", edges=False, keep=0.0, seed=seed)


def rows_of(acts: nc.Activations, search: nc.Search, step: int) -> np.ndarray:
    """The rows that a search uses for its layer number `step` from the top."""
    everyone = np.arange(acts.n_samples)
    if not search.split:
        return everyone
    shuffled = generator(search.seed, "split rows").permutation(everyone)
    return np.sort(np.array_split(shuffled, len(acts.layers))[step])


@cache
def choices(case: str, widened: bool) -> dict[str, Choice]:
    """Dither and floor of each layer, chosen on the first seed's decoys and rows."""
    network, route = case.split(":")
    acts, search = recorded(network, widened, 0), settings(route, 0)
    chosen = {}
    for step, layer in enumerate(reversed(acts.layers)):
        rows = rows_of(acts, search, step)
        key = digest("choice", acts.digest(layer), rows, layer, VERSIONS["choice"])
        made = partial(choice, acts.matrix(layer), rows, layer, search)
        chosen[layer] = Choice.from_arrays(PIECES.recall(key, made))
    return chosen


def choice(
    whole: np.ndarray, rows: np.ndarray, layer: str, search: nc.Search
) -> dict[str, np.ndarray]:
    """What a search chooses on these rows of a layer."""
    sampler = nc.fit_sampler(whole, search.sampler, derived_seed(search.seed, "layer", layer))
    x = sampler.check(whole[rows].astype(np.float64))
    return choose(x, sampler, search.asked).to_arrays()


def found(case: str, widened: bool, seed: int) -> list[dict]:
    """What one search names in each layer."""
    network, route = case.split(":")
    chosen = choices(case, widened)
    used = {layer: {"dither": c.dither, "floor": c.floor} for layer, c in chosen.items()}
    acts = recorded(network, widened, seed)
    key = digest("found", acts.digest(), acts.layers, route, used, seed, VERSIONS["found"])
    named = PIECES.recall(key, lambda: searched(acts, settings(route, seed), used))
    width = {layer: acts.n_neurons(layer) // (1 + widened) for layer in acts.layers}
    rows = []
    for layer in acts.layers:
        units = named[f"{layer} named"]
        rows.append(
            {
                "network": network,
                "layer": layer,
                "route": route,
                "widened": widened,
                "seed": seed,
                "real": int((units < width[layer]).sum()),
                "decoys": int((units >= width[layer]).sum()),
                "targets": int(named[f"{layer} targets"]),
                "seconds": float(named[f"{layer} seconds"]),
                **used[layer],
                "supported": bool(chosen[layer].audit and chosen[layer].audit.passes),
            }
        )
    return rows


def searched(
    acts: nc.Activations, search: nc.Search, used: dict[str, dict[str, float]]
) -> dict[str, np.ndarray]:
    """The neurons of each layer that a search names, as `find_critical` does.

    That takes one setting for all layers or chooses anew for each seed; so its steps are made here.
    """
    work = Work(acts, search, None, None, Checkpoints(None))
    top = Targets(acts.class_score(TARGET)[:, None], CLASS_SCORE, (-1,))
    asked, named = top, {}
    for step, layer in enumerate(reversed(acts.layers)):
        begun = time.perf_counter()
        own = replace(work, search=replace(search, **used[layer]))
        node, _ = own.select(layer, asked, rows_of(acts, search, step), np.arange(acts.n_samples))
        named[f"{layer} named"] = np.array(distinct(node), dtype=np.int64)
        named[f"{layer} targets"] = np.array(asked.values.shape[1])
        named[f"{layer} seconds"] = np.array(time.perf_counter() - begun)
        named_here = search.route == "chain" and node.selected.any()
        asked = below(acts, layer, node) if named_here else top
    return named


def below(acts: nc.Activations, layer: str, node: Selection) -> Targets:
    """What the next layer of a chain is asked about."""
    neurons = distinct(node)
    return Targets(acts.matrix(layer)[:, list(neurons)].astype(np.float64), layer, neurons)


def write(table: pd.DataFrame, arguments: argparse.Namespace) -> list[str]:
    """The JSON and the page; what is not as it should be, in words."""
    cells = pd.DataFrame(
        cell(rows) for _, rows in table.groupby(["network", "route", "layer"], sort=False)
    )
    failures = judged(cells)
    content = {
        "cells": cells.to_dict("records"),
        "searches": table.to_dict("records"),
        "failures": failures,
        "level": FDR,
        "target": TARGET,
        "seeds": arguments.seeds,
        "plain": arguments.plain,
        **machine("numpy", "torch", "scikit-learn"),
    }
    place = ROOT / "benchmarks" / "results" / f"{arguments.name}.json"
    place.write_text(json.dumps(content, indent=1) + "\n")
    page(cells, failures, arguments)
    return failures


def cell(rows: pd.DataFrame) -> dict:
    """One layer by one route, over all seeds."""
    wide, plain = rows[rows["widened"]], rows[~rows["widened"]]
    share = wide["decoys"] / (wide["decoys"] + wide["real"]).clip(lower=1)
    own = {name: rows[name].iloc[0] for name in ("network", "route", "layer")}
    for name, some in (("widened", wide), ("plain", plain)):
        own |= {
            f"dither_{name}": float(some["dither"].iloc[0]),
            f"floor_{name}": float(some["floor"].iloc[0]),
            f"supported_{name}": bool(some["supported"].all()),
            f"real_{name}": float(some["real"].mean()),
            f"real_{name}_error": float(some["real"].sem()),
            f"targets_{name}": float(some["targets"].mean()),
            f"seconds_{name}": float(some["seconds"].mean()),
        }
    kept = own["real_widened"] / own["real_plain"] if own["real_plain"] else float("nan")
    shares = {"share": float(share.mean()), "share_error": float(share.sem())}
    return {**own, **shares, "decoys": float(wide["decoys"].mean()), "kept": kept}


def judged(cells: pd.DataFrame) -> list[str]:
    lines = []
    for _, one in cells.iterrows():
        name = f"{one['network']} {one['layer']} {one['route']}"
        if one["share"] > FDR + 2 * one["share_error"]:
            lines.append(f"{name}: {one['share']:.3f} of the selected are decoys")
        if not one["real_plain"]:
            lines.append(f"{name}: nothing is selected without decoys")
        elif one["kept"] < LEAST_KEPT:
            lines.append(f"{name}: {one['kept']:.2f} as many real neurons as without decoys")
    return lines


def setting(one: pd.Series, name: str) -> str:
    """Dither and floor, and whether they hold."""
    text = f"{one[f'dither_{name}']:g}, {one[f'floor_{name}']:g}"
    return text if one[f"supported_{name}"] else f"{text} (not supported)"


def page(cells: pd.DataFrame, failures: list[str], arguments: argparse.Namespace) -> None:
    lines = ["---", "orphan: true", "---", "", "# Decoys beside real neurons", ""]
    lines += [
        f"Level {FDR:.2f}. Written by `benchmarks/decoys.py`: class scores of real networks, each "
        "layer widened by as many decoys as it has neurons; means and standard errors over "
        f"{arguments.seeds} seeds with decoys and {arguments.plain} without. The chain has rows of "
        "its own for each layer. Dither and floor are with decoys / without; what its audit "
        "does not support is marked.",
        "",
        "Not as wanted: " + ("; ".join(failures) or "none") + ".",
        "",
        "| layer | route | dither, floor | decoys among the selected | real neurons with decoys "
        "| without | kept |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for _, one in cells.iterrows():
        used = " / ".join(setting(one, name) for name in ("widened", "plain"))
        lines.append(
            f"| {one['network']} {one['layer']} | {one['route']} | {used} "
            f"| {one['share']:.3f} +- {one['share_error']:.3f} "
            f"| {one['real_widened']:.1f} +- {one['real_widened_error']:.1f} "
            f"| {one['real_plain']:.1f} +- {one['real_plain_error']:.1f} | {one['kept']:.2f} |"
        )
    place = ROOT / "docs" / "benchmarks" / f"{arguments.name}.md"
    place.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
