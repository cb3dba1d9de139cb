"""The published recipe here and in knockpy 1.3.5, on 20 real cases.

    NEUCEPT_DATA=... python benchmarks/paper_recipe.py [--draws 20] [--cases 20] [--jobs 2]

Layers of the MNIST LeNet and of ResNet-20, class logits as targets, test images as samples, level
0.1. Two comparisons: the statistic on *identical* knockoffs and column order, and the frequency
with which each neuron is selected over the draws of each implementation (two runs of knockpy show
how much seeds alone change). Needs the `compare` extra. Prints a table and writes
``benchmarks/results/paper_recipe.json``. Exit code 1 when they do not agree.
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
from collections.abc import Iterable
from pathlib import Path

import joblib
import numpy as np
from machine import machine

import neucept as nc
from neucept.knockoffs.published import PublishedLasso
from neucept.sources import load_data, load_model

ROOT = Path(__file__).resolve().parents[1]
FDR = 0.1
LAYERS = {
    "mnist_lenet": {"conv2": (0, 3, 5, 7), "fc1": (0, 3, 5, 7)},
    "cifar10_resnet20": {
        "layer1": (1, 3, 7),
        "layer2": (1, 3, 7),
        "layer3.2.conv1": (1, 3, 7),
        "layer3": (1, 3, 7),
    },
}
LEAST_CORRELATION = 0.999
MOST_RATIO = 1.2


def main() -> None:
    arguments = parse()
    begun = time.perf_counter()
    cases = real_cases()[: arguments.cases]
    with joblib.parallel_config(backend="loky", n_jobs=arguments.jobs, inner_max_num_threads=1):
        rows = joblib.Parallel(batch_size=1)(
            joblib.delayed(compare)(*case, arguments.draws) for case in cases
        )
    print(f"{'case':38} {'same knockoffs':>24} {'frequencies':>31} {'seconds':>15}")
    print(f"{'':38} {'corr':>8} {'differ':>7} {'(self)':>7}", end="")
    print(f" {'ours':>7} {'(self)':>7} {'signed':>8} {'set':>6} {'ours':>7} {'knockpy':>8}")
    for row in rows:
        print(
            f"{row['case']:38} {row['correlation']:8.5f} {row['differing']:7d} "
            f"{row['knockpy_correlation']:7.3f} {row['difference']:7.3f} "
            f"{row['knockpy_difference']:7.3f} {row['signed']:8.3f} {row['jaccard']:6.2f} "
            f"{row['seconds']:7.1f} {row['knockpy_seconds']:8.1f}"
        )
    totals, failures = verdict(rows)
    for name, value in totals.items():
        print(f"{name}: {value:.4f}")
    for line in failures:
        print(f"FAILED: {line}")
    print(f"{arguments.draws} draws each, {time.perf_counter() - begun:.0f} s", end="")
    print(", they agree" if not failures else "")
    content = {
        "rows": rows,
        "totals": totals,
        "failures": failures,
        "draws": arguments.draws,
        **machine("numpy", "scikit-learn", "knockpy"),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(content, indent=1) + "\n")
    sys.exit(bool(failures))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    default = ROOT / "benchmarks" / "results" / "paper_recipe.json"
    parser.add_argument("--out", type=Path, default=default)
    return parser.parse_args()


def real_cases(
    examples: Iterable[str] = tuple(LAYERS),
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, activations and target of each case."""
    cases = []
    for example in examples:
        layers = LAYERS[example]
        folder = ROOT / "examples" / example
        model = load_model(f"{folder / 'network.py'}:build")
        acts = nc.capture(model, load_data(f"{folder / 'images.py'}:load"), list(layers))
        for layer, targets in layers.items():
            x = acts.matrix(layer).astype(np.float64)
            cases += [
                (f"{example} {layer} class {target}", x, acts.class_score(target, "raw"))
                for target in targets
            ]
    return cases


SETTINGS = (
    *("fdr", "sampler", "statistic", "knockoffs"),
    *("draws", "dither", "rows", "aggregate"),
)
"""What the recipe tells `select`."""


def compare(name: str, x: np.ndarray, y: np.ndarray, draws: int) -> dict:
    """Both comparisons on one case."""
    theirs = [Knockpy(x, y, seed) for seed in (1, 2)]
    frequencies = [run.frequency(draws) for run in theirs]
    begun = time.perf_counter()
    recipe = nc.paper_recipe(draws=draws, fdr=FDR)
    settings = {name: getattr(recipe, name) for name in SETTINGS}
    ours = nc.select(x, y, **settings, seed=0, n_jobs=1).frequency
    seconds = time.perf_counter() - begun
    half = [values >= 0.5 for values in (ours, frequencies[0])]
    return {
        "case": name,
        **same_knockoffs(theirs[0], x, y),
        "difference": float(np.mean([np.abs(ours - f).mean() for f in frequencies])),
        "knockpy_difference": float(np.abs(frequencies[0] - frequencies[1]).mean()),
        "signed": float((ours - np.mean(frequencies, axis=0)).mean()),
        "jaccard": float((half[0] & half[1]).sum() / max(1, (half[0] | half[1]).sum())),
        "seconds": seconds,
        "knockpy_seconds": theirs[0].seconds,
    }


def same_knockoffs(theirs: Knockpy, x: np.ndarray, y: np.ndarray) -> dict:
    """The statistic on one draw of knockpy's knockoffs, columns in the order it chose."""
    from knockpy.knockoff_stats import data_dependent_threshhold

    drawn, statistic, order = theirs.draw()
    _, again, _ = theirs.draw(drawn)
    neurons = x.shape[1]
    coefficients = np.empty(2 * neurons)
    design = np.hstack([x, drawn])[:, order]
    coefficients[order] = PublishedLasso().coefficients(design, y[:, None])[:, 0]
    ours = np.abs(coefficients[:neurons]) - np.abs(coefficients[neurons:])
    sets = [values >= data_dependent_threshhold(values, FDR) for values in (statistic, ours)]
    return {
        "correlation": float(np.corrcoef(statistic, ours)[0, 1]),
        "differing": int((sets[0] != sets[1]).sum()),
        "knockpy_correlation": float(np.corrcoef(statistic, again)[0, 1]),
    }


class Knockpy:
    """The published recipe as knockpy computes it; S is computed once."""

    def __init__(self, x: np.ndarray, y: np.ndarray, seed: int) -> None:
        from knockpy.knockoffs import GaussianSampler
        from knockpy.utilities import estimate_covariance

        self.x, self.y = x, y
        self.state = np.random.RandomState(seed).get_state()
        self.seconds = 0.0
        with quiet():
            sigma, _ = estimate_covariance(x, 1e-2, "ledoitwolf")
            self.sampler = GaussianSampler(X=x, Sigma=sigma, choldate_warning=False)

    def draw(self, drawn: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Knockoffs (new ones unless given), the statistic, and the order of the columns."""
        from knockpy.knockoff_stats import LassoStatistic

        np.random.set_state(self.state)  # noqa: NPY002 - knockpy draws from the global generator
        with quiet():
            drawn = self.sampler.sample_knockoffs() if drawn is None else drawn
            statistic = LassoStatistic()
            values = statistic.fit(X=self.x, Xk=drawn, y=self.y)
        self.state = np.random.get_state()  # noqa: NPY002
        return drawn, values, statistic.inds

    def frequency(self, draws: int) -> np.ndarray:
        """The share of draws that select each neuron."""
        from knockpy.knockoff_stats import data_dependent_threshhold

        begun = time.perf_counter()
        found = [self.draw()[1] for _ in range(draws)]
        self.seconds = time.perf_counter() - begun
        return np.mean([w >= data_dependent_threshhold(w, FDR) for w in found], axis=0)


@contextlib.contextmanager
def quiet():
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def verdict(rows: list[dict]) -> tuple[dict[str, float], list[str]]:
    """The figures over all cases, and in words what is not as it should be."""
    signed = np.array([row["signed"] for row in rows])
    totals = {
        "least correlation on identical knockoffs": min(row["correlation"] for row in rows),
        "neurons selected differently on them": float(sum(row["differing"] for row in rows)),
        "mean difference of frequencies": float(np.mean([row["difference"] for row in rows])),
        "the same between two runs of knockpy": float(
            np.mean([row["knockpy_difference"] for row in rows])
        ),
        "mean signed difference": float(signed.mean()),
        "its standard error": float(signed.std(ddof=1) / np.sqrt(len(signed))),
    }
    least, differing, difference, own, mean, error = totals.values()
    failures = []
    if least < LEAST_CORRELATION:
        failures.append(f"correlation {least:.5f} on identical knockoffs")
    if differing:
        failures.append(f"{differing:.0f} neurons selected differently on identical knockoffs")
    if difference > MOST_RATIO * own:
        failures.append(f"frequencies differ by {difference:.3f}, two knockpy runs by {own:.3f}")
    if abs(mean) > 3 * error:
        failures.append(f"frequencies differ by {mean:.4f} on average, standard error {error:.4f}")
    return totals, failures


if __name__ == "__main__":
    main()
