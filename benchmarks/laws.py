"""Realised false discoveries and power on Gaussian designs, beside knockpy on the same data.

    python benchmarks/laws.py [--repeats 200] [--jobs 2]

Linear targets on neurons with the covariance AR(0.5), AR(0.8) or three common factors. Compared at
level 0.1: knockpy with one draw, neucept with one draw (knockoff+ both), and neucept with 20 draws
(of several knockoffs; every other repeat), by lasso throughout. Needs the `compare` extra.
Prints a table and writes ``benchmarks/results/laws.json``. Exit code 1 when a law is broken.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
from machine import machine
from scipy.linalg import toeplitz

from neucept.knockoffs import select

ROOT = Path(__file__).resolve().parents[1]
FDR = 0.1
LINEAR = {"fdr": FDR, "sampler": "gaussian", "statistic": "lasso", "dither": 0.0, "n_jobs": 1}
SAMPLES, NEURONS, SERVING = 600, 80, 30
SIGNALS = {"ar 0.5": 0.19, "ar 0.8": 0.33, "factor": 0.24}
"""Coefficient of each serving neuron, in noise deviations; knockpy's power is then 0.6 to 0.9."""

POWER_MARGIN = 0.03


def main() -> None:
    arguments = parse()
    jobs = [(design, repeat) for design in SIGNALS for repeat in range(arguments.repeats)]
    begun = time.perf_counter()
    with joblib.parallel_config(backend="loky", n_jobs=arguments.jobs, inner_max_num_threads=1):
        results = joblib.Parallel(batch_size=1)(joblib.delayed(one_repeat)(*job) for job in jobs)
    rows = summary(results)
    print(f"{SAMPLES} samples, {NEURONS} neurons, {SERVING} serve the target, level {FDR}")
    print(f"{'design':8} {'method':22} {'FDR':>7} {'+-':>6} {'power':>7} {'+-':>6} {'seconds':>8}")
    for row in rows:
        print(
            f"{row['design']:8} {row['method']:22} {row['fdr']:7.3f} {row['fdr_error']:6.3f} "
            f"{row['power']:7.3f} {row['power_error']:6.3f} {row['seconds']:8.3f}"
        )
    broken = verdict(rows)
    for line in broken:
        print(f"BROKEN: {line}")
    print(f"{arguments.repeats} repeats, {time.perf_counter() - begun:.0f} s", end="")
    print(", every law holds" if not broken else "")
    content = {
        "rows": rows,
        "broken": broken,
        "repeats": arguments.repeats,
        **machine("numpy", "scikit-learn", "knockpy"),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(content, indent=1) + "\n")
    sys.exit(bool(broken))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "laws.json")
    return parser.parse_args()


def data(design: str, repeat: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations, target, and which neurons serve it."""
    random = np.random.default_rng((list(SIGNALS).index(design), repeat))
    if design == "factor":
        loadings = random.standard_normal((NEURONS, 3))
        x = random.standard_normal((SAMPLES, 3)) @ loadings.T
        x += np.sqrt(2) * random.standard_normal((SAMPLES, NEURONS))
        x /= np.sqrt((loadings**2).sum(1) + 2)
    else:
        correlation = toeplitz(float(design.split()[1]) ** np.arange(NEURONS))
        x = random.standard_normal((SAMPLES, NEURONS)) @ np.linalg.cholesky(correlation).T
    serving = np.zeros(NEURONS, dtype=bool)
    serving[random.choice(NEURONS, SERVING, replace=False)] = True
    signs = random.choice([-1.0, 1.0], NEURONS)
    y = x @ (SIGNALS[design] * signs * serving) + random.standard_normal(SAMPLES)
    return x, y, serving


def one_repeat(design: str, repeat: int) -> list[dict]:
    x, y, serving = data(design, repeat)
    methods = {
        "knockpy, one draw": lambda: with_knockpy(x, y, repeat),
        "neucept, one draw": lambda: (
            select(x, y, **LINEAR, knockoffs=1, draws=1, seed=repeat).selected
        ),
    }
    if repeat % 2 == 0:
        methods["neucept, 20 draws"] = lambda: select(x, y, **LINEAR, seed=repeat).selected
    found = []
    for method, run in methods.items():
        begun = time.perf_counter()
        selected = run()
        found.append(
            {
                "design": design,
                "method": method,
                "fdp": (selected & ~serving).sum() / max(1, selected.sum()),
                "power": (selected & serving).sum() / serving.sum(),
                "seconds": time.perf_counter() - begun,
            }
        )
    return found


def with_knockpy(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    from knockpy import KnockoffFilter

    np.random.seed(seed)  # noqa: NPY002 - knockpy draws from the global generator
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        chosen = KnockoffFilter(
            ksampler="gaussian", fstat="lasso", knockoff_kwargs={"choldate_warning": False}
        )
        return chosen.forward(X=x, y=y, fdr=FDR).astype(bool)


def summary(results: list[list[dict]]) -> list[dict]:
    rows = []
    cases = [case for repeat in results for case in repeat]
    for key in dict.fromkeys((case["design"], case["method"]) for case in cases):
        mine = [case for case in cases if (case["design"], case["method"]) == key]
        fdp, power = (np.array([case[name] for case in mine]) for name in ("fdp", "power"))
        rows.append(
            {
                "design": key[0],
                "method": key[1],
                "fdr": float(fdp.mean()),
                "fdr_error": float(fdp.std(ddof=1) / np.sqrt(len(mine))),
                "power": float(power.mean()),
                "power_error": float(power.std(ddof=1) / np.sqrt(len(mine))),
                "seconds": float(np.median([case["seconds"] for case in mine])),
            }
        )
    return rows


def verdict(rows: list[dict]) -> list[str]:
    """What a table must show; each broken law in words."""
    broken = []
    for design in SIGNALS:
        theirs, ours, default = (row for row in rows if row["design"] == design)
        if not 0.6 <= theirs["power"] <= 0.9:
            broken.append(f"{design}: knockpy's power {theirs['power']:.2f} is not 0.6 to 0.9")
        for row in (ours, default):
            if row["fdr"] > FDR + 2 * row["fdr_error"]:
                broken.append(f"{design}: {row['method']} has FDR {row['fdr']:.3f}")
        if ours["power"] < theirs["power"] - POWER_MARGIN:
            broken.append(f"{design}: power {ours['power']:.3f} beside {theirs['power']:.3f}")
    return broken


if __name__ == "__main__":
    main()
