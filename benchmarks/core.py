"""The core: does it keep what it says, is it small, do two halves of the samples agree on it?

Planted: targets of known neurons with unequal weights on layers of real networks. The core is
found on one half of the samples, from what a selection named there; what it keeps is measured on
the other half, by judges that have no part in finding it: the best of kernel ridge regression,
boosted trees and boosted stumps. Beside it stands a greedy search that knows the planted neurons
and tries each on the first half, by the judge that tells most there.

Real: the networks' own scores of the classes predicted most often, selection and core from each
half of the samples.

    NEUCEPT_DATA=... python benchmarks/core.py [--classes 3] [--layers resnet20:layer3 ...]

Writes ``benchmarks/results/core.json`` and ``docs/benchmarks/core.md``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from machine import machine
from networks import ROOT, activations
from scipy.linalg import cho_factor, cho_solve
from sklearn.ensemble import HistGradientBoostingRegressor

import neucept as nc
from neucept.critical.core import find_core
from neucept.runtime import derived_seed, generator

LAYERS = {"resnet20:layer2": 0.03, "resnet20:layer3": 0.03, "lenet:7": 0.16, "lenet:10": 0.1}
"""And the floor that audits chose for each, as `docs/benchmarks/precision.md` has it."""

KEEP = 0.9
PLANTED_FLOOR = 0.08
"""Low enough that planted neurons of little weight are candidates for a core."""


PLANTED_NEURONS = 16
FADING = 0.9
"""Each planted weight is this share of the one before it; so slowly that no neuron is worth much
more than the 0.03 that `kept` may be off."""

KINDS = ("linear", "relu", "even", "threshold")
CENTRES = 600

Judge = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]
"""Of samples, target, neurons, rows to learn from and rows to judge on, the explained variance."""


def main() -> None:
    arguments = parse()
    begun = time.perf_counter()
    planted, real = [], []
    for layer in arguments.layers:
        x = matrix(layer)
        for kind in KINDS:
            planted.append({"layer": layer, "kind": kind, **on_planted(x, kind, layer)})
            print(f"{time.perf_counter() - begun:.0f} s", planted[-1], flush=True)
        for row in on_classes(layer, arguments.classes):
            real.append({"layer": layer, **row})
            print(f"{time.perf_counter() - begun:.0f} s", real[-1], flush=True)
    write(pd.DataFrame(planted), pd.DataFrame(real))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--layers", nargs="+", default=list(LAYERS))
    return parser.parse_args()


def matrix(layer: str) -> np.ndarray:
    network, name = layer.split(":")
    return activations(network, [name]).matrix(name).astype(np.float64)


def halves(samples: int) -> list[np.ndarray]:
    shuffled = generator(0, "core halves").permutation(samples)
    return [np.sort(part) for part in np.array_split(shuffled, 2)]


def target(x: np.ndarray, kind: str, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """A target of a known kind with fading weights of mixed sign, and its neurons."""
    random = generator(0, "core target", layer, kind)
    varies = np.flatnonzero(x.std(0) > 1e-6)
    neurons = random.choice(varies, PLANTED_NEURONS, replace=False)
    z = (x[:, neurons] - x[:, neurons].mean(0)) / x[:, neurons].std(0)
    signs = random.choice([-1.0, 1.0], PLANTED_NEURONS)
    weights = signs * FADING ** np.arange(PLANTED_NEURONS)
    forms = {
        "linear": z @ weights,
        "relu": np.maximum(z @ weights, 0),
        "even": np.abs(z) @ weights,
        "threshold": (z > np.median(z, axis=0)) @ weights,
    }
    return forms[kind], neurons


def on_planted(x: np.ndarray, kind: str, layer: str) -> dict:
    y, truth = target(x, kind, layer)
    first, second = halves(len(x))
    found, core, seconds = core_of(x[first], y[first], PLANTED_FLOOR, derived_seed(0, layer, kind))
    # Without noise the layer tells what the planted neurons tell, and of these few the judges miss
    # least.
    judge, _ = best_judge(x, y, truth, first[::2], first[1::2])
    best = greedy(x, y, truth, first, JUDGES[judge])
    whole, core_tells, greedy_tells = (
        best_judge(x, y, neurons, first, second)[1] for neurons in (truth, core, np.array(best))
    )
    return {
        "selected": len(found),
        "core": len(core),
        "greedy": len(best),
        "kept": core_tells / whole,
        "greedy kept": greedy_tells / whole,
        "known": whole,
        "judge": judge,
        "planted in core": int(np.isin(core, truth).sum()),
        "seconds": seconds,
    }


def on_classes(layer: str, classes: int) -> list[dict]:
    network, name = layer.split(":")
    acts = activations(network, [name])
    x = acts.matrix(name).astype(np.float64)
    rows = []
    for label in np.bincount(acts.predictions).argsort()[: -classes - 1 : -1]:
        y = acts.class_score(int(label))
        (named, one, seconds), (others, two, _) = (
            core_of(x[part], y[part], LAYERS[layer], derived_seed(0, layer))
            for part in halves(len(x))
        )
        rows.append(
            {
                "class": int(label),
                "neurons": x.shape[1],
                "selected": (len(named) + len(others)) / 2,
                "core": (len(one) + len(two)) / 2,
                "selections agree": jaccard(named, others),
                "cores agree": jaccard(one, two),
                "seconds": seconds,
            }
        )
    return rows


def core_of(
    x: np.ndarray, y: np.ndarray, floor: float, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """What is selected, its core, and how long finding the core took."""
    found = nc.select(x, y, dither=0.0, floor=floor, seed=seed).neurons
    begun = time.perf_counter()
    core = find_core(x, y[:, None], found, keep=KEEP, seed=seed).core(KEEP)
    return found, core, time.perf_counter() - begun


def best_judge(
    x: np.ndarray, y: np.ndarray, neurons: np.ndarray, learn: np.ndarray, judge: np.ndarray
) -> tuple[str, float]:
    """The judge that explains most of the variance on `judge` after `learn`, and how much."""
    shares = {name: one(x, y, neurons, learn, judge) for name, one in JUDGES.items()}
    name = max(shares, key=lambda name: shares[name])
    return name, shares[name]


def by_kernel(
    x: np.ndarray, y: np.ndarray, neurons: np.ndarray, learn: np.ndarray, judge: np.ndarray
) -> float:
    """Explained variance of kernel ridge regression."""
    if len(neurons) == 0:
        return 0.0
    z = (x[:, neurons] - x[learn][:, neurons].mean(0)) / x[learn][:, neurons].std(0).clip(1e-9)
    z /= np.sqrt(len(neurons))
    centres = z[learn[generator(0, "centres").permutation(len(learn))[:CENTRES]]]
    between = kernel(centres, centres)
    fitted, judged = kernel(z[learn], centres), kernel(z[judge], centres)
    mean = y[learn].mean()
    shares = []
    for ridge in (1e-6, 1e-4, 1e-2):
        system = fitted.T @ fitted + ridge * len(learn) * between + 1e-8 * np.eye(CENTRES)
        weights = cho_solve(cho_factor(system), fitted.T @ (y[learn] - mean))
        shares.append(share(judged @ weights + mean, y[judge]))
    return max(shares)


def by_trees(
    x: np.ndarray,
    y: np.ndarray,
    neurons: np.ndarray,
    learn: np.ndarray,
    judge: np.ndarray,
    leaves: int = 16,
) -> float:
    """Explained variance of boosted trees; with two leaves they are sums over neurons."""
    if len(neurons) == 0:
        return 0.0
    trees = HistGradientBoostingRegressor(
        max_leaf_nodes=leaves, max_iter=300, early_stopping=True, random_state=0
    ).fit(x[np.ix_(learn, neurons)], y[learn])
    return share(trees.predict(x[np.ix_(judge, neurons)]), y[judge])


def share(guess: np.ndarray, truth: np.ndarray) -> float:
    return float(1 - np.mean((guess - truth) ** 2) / truth.var())


JUDGES: dict[str, Judge] = {
    "kernel": by_kernel,
    "trees": by_trees,
    "stumps": partial(by_trees, leaves=2),
}


def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A Gaussian kernel beside a linear one."""
    inside = a @ b.T
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * inside
    return np.exp(-squares / 2) + 0.1 * inside + 0.1


def greedy(
    x: np.ndarray, y: np.ndarray, truth: np.ndarray, rows: np.ndarray, explained: Judge
) -> list[int]:
    """The planted neurons, one after the other, until the share is kept."""
    learn, judge = rows[::2], rows[1::2]
    whole = explained(x, y, truth, learn, judge)
    chosen: list[int] = []
    while len(chosen) < len(truth):
        left = [int(j) for j in truth if int(j) not in chosen]
        gains = [explained(x, y, np.array([*chosen, j]), learn, judge) for j in left]
        chosen.append(left[int(np.argmax(gains))])
        if max(gains) >= KEEP * whole:
            break
    return chosen


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    one, two = set(a.tolist()), set(b.tolist())
    return len(one & two) / len(one | two) if one | two else 1.0


def write(planted: pd.DataFrame, real: pd.DataFrame) -> None:
    """The JSON and the page."""
    many = real[real["selected"] > real["neurons"] / 2]
    figures = {
        "planted: mean share kept (0.9 wanted)": planted["kept"].mean(),
        "planted: cases within 0.03 of it": int((planted["kept"] - KEEP).abs().le(0.03).sum()),
        "planted: cases": len(planted),
        "planted: largest size beside the greedy search's": (
            planted["core"] / planted["greedy"]
        ).max(),
        "real: two halves agree on the core, mean": real["cores agree"].mean(),
        "real: least over layers of that mean": real.groupby("layer")["cores agree"].mean().min(),
        "real: cases with most of the layer selected": len(many),
        "real: of these with a smaller core": int((many["core"] < many["selected"]).sum()),
    }
    content = {
        "planted": planted.to_dict("records"),
        "real": real.to_dict("records"),
        "figures": {name: float(value) for name, value in figures.items()},
        **machine("numpy", "torch", "scipy", "scikit-learn"),
    }
    (ROOT / "benchmarks" / "results" / "core.json").write_text(json.dumps(content, indent=1) + "\n")
    lines = ["---", "orphan: true", "---", "", "# The core", ""]
    lines += ["Written by `benchmarks/core.py`.", "", "| figure | value |", "| --- | --- |"]
    lines += [f"| {name} | {value:.3g} |" for name, value in figures.items()]
    for title, table in (("Planted targets", planted), ("The networks' own scores", real)):
        lines += ["", f"## {title}", "", "| " + " | ".join(table.columns) + " |"]
        lines.append("| --- " * len(table.columns) + "|")
        for row in table.itertuples(index=False):
            cells = (f"{value:.3g}" if isinstance(value, float) else str(value) for value in row)
            lines.append("| " + " | ".join(cells) + " |")
    (ROOT / "docs" / "benchmarks" / "core.md").write_text("\n".join(lines) + "\n")
    for name, value in figures.items():
        print(f"{name}: {value:.3g}")


if __name__ == "__main__":
    main()
