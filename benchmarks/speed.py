"""How fast a search is: beside the published loop, as things grow, and in whole studies.

The published code fits covariance and S, draws knockoffs and fits a lasso anew for every class and
every draw. A few of its iterations are run by knockpy and multiplied; `paper_recipe` makes all
draws for all classes at once, and the default is run with its audit. Every measurement has a
process of its own, whose peak memory is counted beside what it held before. The studies are the
examples, each first planned (`neucept run --dry-run`) and then run.

    NEUCEPT_DATA=... python benchmarks/speed.py [--layers lenet:7 ...] [--parts loop growth study]

Writes ``benchmarks/results/speed.json``, ``docs/benchmarks/speed.md`` and its figure.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from statistics import median
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from machine import forget_peak, machine, peak
from networks import ROOT, activations

import neucept as nc
from neucept.knockoffs.gaussian import fit_gaussian
from neucept.knockoffs.lasso import Lasso
from neucept.knockoffs.unformed import Unformed
from neucept.runtime import run_tasks
from neucept.sources import load_data, load_model, read_study_file
from neucept.study.plan import plan_study
from neucept.study.run import run_study
from neucept.study.settings import StudySettings

LAYERS = ("lenet:10", "lenet:7", "resnet20:layer2", "resnet20:layer3", "relu:512", "relu:1024")
WIDEST = "relu:2048"
REPEATS = 3
CLASSES, DRAWS, SAMPLES = 10, 50, 10_000
RECIPE = {
    "sampler": "gaussian_unscaled",
    "statistic": "lasso_published",
    "knockoffs": 1,
    "dither": 0.0,
    "floor": 0.0,
    "rows": "all",
    "aggregate": "frequency",
    "targets": "separate",
}
GROWTH = {
    "samples": [(n, 256, 1) for n in (1_000, 10_000, 100_000, 1_000_000)],
    "neurons": [(10_000, p, 1) for p in (64, 128, 256, 512, 1024, 2048, 4096)],
    "targets": [(10_000, 256, t) for t in (1, 10, 100, 1000)],
}
"""Samples, neurons and targets of each measurement."""

STUDIES = ("mnist_lenet", "cifar10_resnet20")
"""Examples that are run from the beginning to the end."""

STAGES = ("capture", "critical neurons", "mechanisms", "ablation", "pictures")
"""What a plan and a study's folder tell the seconds of."""


def main() -> None:
    arguments = parse()
    if arguments.child:
        name, *values = json.loads(arguments.child)
        print(json.dumps(measured(lambda: CHILDREN[name](*values))))
        return
    content = kept(arguments)
    for layer in arguments.layers if "loop" in arguments.parts else []:
        content["loop"].append(loop(layer, arguments.default))
        print(content["loop"][-1], flush=True)
        write(content)
    for along, cases in GROWTH.items() if "growth" in arguments.parts else []:
        for case in cases:
            found = child("draw", *case)
            content["growth"].append({"along": along, **found})
            print(content["growth"][-1], flush=True)
            write(content)
    for name in arguments.studies if "study" in arguments.parts else []:
        content["study"] += stages(name)
        print(*content["study"][-len(STAGES) - 1 :], sep="\n", flush=True)
        write(content)


def kept(arguments: argparse.Namespace) -> dict[str, Any]:
    """What earlier runs found and this one does not measure anew."""
    place = ROOT / "benchmarks" / "results" / "speed.json"
    old = json.loads(place.read_text()) if place.exists() else {}
    loops = [row for row in old.get("loop", []) if row["layer"] not in arguments.layers]
    growth = "growth" in arguments.parts
    anew = arguments.studies if "study" in arguments.parts else []
    return {
        "study": [row for row in old.get("study", []) if row["study"] not in anew],
        "loop": loops if "loop" in arguments.parts else old.get("loop", []),
        "growth": [] if growth else old.get("growth", []),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", nargs="+", default=[*LAYERS, WIDEST])
    parser.add_argument("--parts", nargs="+", default=["loop", "growth", "study"])
    parser.add_argument("--studies", nargs="+", default=list(STUDIES))
    parser.add_argument("--default", nargs="+", default=["lenet:10", "lenet:7", "relu:512"])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def child(*job: object) -> dict[str, Any]:
    """A measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(job)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def measured(job: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    return {**job(), "peak": peak()}


def spread(seconds: list[float]) -> str:
    """Their median, least and most."""
    if len(seconds) == 1:
        return f"{seconds[0]:.3g}"
    return f"{median(seconds):.3g} ({min(seconds):.3g} to {max(seconds):.3g})"


def layer_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Activations, and the scores of ten classes."""
    network, layer = name.split(":")
    if network == "relu":
        return synthetic(SAMPLES, int(layer), CLASSES)
    acts = activations(network, [layer])
    scores = [acts.class_score(label) for label in range(CLASSES)]
    return acts.matrix(layer).astype(np.float64), np.stack(scores, axis=1)


def synthetic(samples: int, neurons: int, targets: int) -> tuple[np.ndarray, np.ndarray]:
    """A layer of ReLU units with 100 common causes, and what a network above makes of it."""
    random = np.random.default_rng(0)
    causes = np.maximum(random.standard_normal((samples, 100)), 0)
    mixed = causes @ random.standard_normal((100, neurons)) / 10
    x = np.maximum(mixed + 0.5 * random.standard_normal((samples, neurons)), 0)
    above = np.maximum(x @ random.standard_normal((neurons, 60)), 0)
    return x, above @ random.standard_normal((60, targets))


def loop(layer: str, default: list[str]) -> dict[str, Any]:
    """The three ways on one layer."""
    few = 1 if layer == WIDEST else 3
    published = child("published", layer, few)
    recipe = child("recipe", layer)
    whole = median(published["all"]) * CLASSES * DRAWS
    row = {
        "layer": layer,
        "neurons": recipe["neurons"],
        "published, one class and draw": spread(published["all"]),
        "iterations run": few,
        "published, extrapolated": whole,
        "paper_recipe": spread(recipe["all"]),
        "times as fast": whole / median(recipe["all"]),
        "memory beyond the data": recipe["peak"] - recipe["before"],
    }
    if layer in default:
        ours = child("default", layer)
        row |= {"default": ours["seconds"], "default times as fast": whole / ours["seconds"]}
    return row


def published(layer: str, iterations: int) -> dict[str, Any]:
    """Seconds of one class and draw of the published loop, by knockpy."""
    from knockpy import KnockoffFilter

    x, y = layer_of(layer)
    x = x[:, x.std(0) > 1e-9]
    seconds = []
    for i in range(iterations):
        begun = time.perf_counter()
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            KnockoffFilter(ksampler="gaussian", fstat="lasso").forward(
                X=x, y=y[:, i % CLASSES], fdr=0.1
            )
        seconds.append(time.perf_counter() - begun)
    return {"all": seconds}


def recipe(layer: str) -> dict[str, Any]:
    """All classes and draws by `paper_recipe`."""
    x, y = layer_of(layer)
    before, seconds = forget_peak(), []
    for seed in range(REPEATS if x.shape[1] <= 512 else 1):
        begun = time.perf_counter()
        nc.select(x, y, draws=DRAWS, seed=seed, **RECIPE)
        seconds.append(time.perf_counter() - begun)
    return {"all": seconds, "neurons": x.shape[1], "before": before}


def default(layer: str) -> dict[str, Any]:
    """All classes by the default, from the density and the audit to the neurons."""
    x, y = layer_of(layer)
    before, begun = forget_peak(), time.perf_counter()
    nc.select(x, y, targets="separate")
    return {"seconds": time.perf_counter() - begun, "before": before}


def draw(samples: int, neurons: int, targets: int) -> dict[str, Any]:
    """The one pass for moments, and one draw after it, with one thread."""
    x, y = synthetic(samples, neurons, targets)
    return run_tasks(_draw, [(x, y)], n_jobs=1)[0]


def _draw(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    statistic, before = Lasso(), forget_peak()
    begun = time.perf_counter()
    law = fit_gaussian(x).affine(1)
    fitted = time.perf_counter()
    unformed = Unformed.of(x, y, statistic.fold_rows(len(x)), law, np.zeros(y.shape[1]))
    passed = time.perf_counter()
    seconds = []
    for repeat in range(4 if x.shape[1] < 1024 else 2):
        random = np.random.default_rng(repeat)
        start = time.perf_counter()
        statistic.fitted(unformed.draw(random), 1, random)
        seconds.append(time.perf_counter() - start)
    return {
        "samples": len(x),
        "neurons": x.shape[1],
        "targets": y.shape[1],
        "density and S": fitted - begun,
        "moments": passed - fitted,
        "draw": median(seconds[1:]),
        "before": before,
    }


def stages(name: str) -> list[dict[str, Any]]:
    """What each stage of a study takes, and what was said before."""
    planned, taken = child("planned", name), child("study", name)
    told, seconds, whole = planned["stages"], taken["stages"], sum(taken["stages"].values())
    rows = [
        {
            "study": name,
            "stage": stage,
            "planned": told.get(stage, 0.0),
            "seconds": seconds.get(stage, 0.0),
            "share": seconds.get(stage, 0.0) / whole,
        }
        for stage in STAGES
    ]
    everything = {"planned": sum(told.values()), "seconds": taken["seconds"], "share": 1.0}
    return [*rows, {"study": name, "stage": "in all", **everything}]


def example(name: str) -> tuple[Any, Any, int, StudySettings, list[str]]:
    """The network, data, class, settings and class names of an example."""
    file = ROOT / "examples" / name / "study.toml"
    said = read_study_file(file, [field.name for field in fields(StudySettings)])
    settings = StudySettings(**said.settings)
    classes = list(said.classes)
    data = load_data(said.data)
    return load_model(said.model, said.weights), data, classes.index(said.target), settings, classes


def planned(name: str) -> dict[str, Any]:
    """Seconds that the plan of an example expects, by stage."""
    model, data, target, settings, classes = example(name)
    begun = time.perf_counter()
    plan = plan_study(model, data, target, settings, classes=classes)
    seconds = time.perf_counter() - begun
    return {"stages": plan.table.groupby("stage")["seconds"].sum().to_dict(), "seconds": seconds}


def study(name: str) -> dict[str, Any]:
    """Seconds of a study of an example, by stage."""
    model, data, target, settings, classes = example(name)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        done = run_study(model, data, target, Path(folder) / "s", settings, classes=classes)
        seconds = time.perf_counter() - begun
        told = done.info["seconds"]
    return {"stages": {stage: told[stage] for stage in STAGES}, "seconds": seconds}


CHILDREN: dict[str, Callable[..., dict[str, Any]]] = {
    "published": published,
    "recipe": recipe,
    "default": default,
    "draw": draw,
    "planned": planned,
    "study": study,
}


def write(content: dict[str, Any]) -> None:
    """The JSON, the page and its figure."""
    loops, growth = pd.DataFrame(content["loop"]), pd.DataFrame(content["growth"])
    said = {**content, **machine("numpy", "scipy", "scikit-learn", "numba", "torch", "knockpy")}
    (ROOT / "benchmarks" / "results" / "speed.json").write_text(json.dumps(said, indent=1) + "\n")
    lines = ["---", "orphan: true", "---", "", "# Speed", ""]
    lines.append(
        "Written by `benchmarks/speed.py`; each row's ways in one run, medians with least and "
        "most. Seconds of a shared machine with 2 cores; memory in GB."
    )
    if len(loops):
        lines += ["", f"## {CLASSES} classes, {DRAWS} draws, {SAMPLES:,} samples", ""]
        lines.append(
            "The published loop is extrapolated from the iterations that were run; the rest is run."
        )
        lines += ["", *table(loops)]
    if len(growth):
        lines += ["", "## One draw, Gaussian and lasso", ""]
        lines += [f"{line}." for line in exponents(growth)]
        lines += ["", "![Seconds of a draw](speed.svg)", "", *table(growth)]
        figure(growth, ROOT / "docs" / "benchmarks" / "speed.svg")
    if content["study"]:
        lines += ["", "## The examples, from the beginning to the end", ""]
        lines.append("Seconds that `neucept run --dry-run` expects, and those that were taken.")
        lines += ["", *table(pd.DataFrame(content["study"]))]
    (ROOT / "docs" / "benchmarks" / "speed.md").write_text("\n".join(lines) + "\n")


def table(frame: pd.DataFrame) -> list[str]:
    head = ["| " + " | ".join(frame.columns) + " |", "| --- " * len(frame.columns) + "|"]
    rows = []
    for values in frame.itertuples(index=False):
        cells = (f"{v:.3g}" if isinstance(v, float) else f"{v}" for v in values)
        rows.append("| " + " | ".join("" if c == "nan" else c for c in cells) + " |")
    return head + rows


def exponents(growth: pd.DataFrame) -> list[str]:
    """How the time of a draw grows: the slope in logarithms."""
    found = []
    for along, rows in growth.dropna(subset="draw").groupby("along", sort=False):
        if len(rows) < 2:
            continue
        slope = np.polyfit(np.log(rows[along].astype(float)), np.log(rows["draw"]), 1)[0]
        found.append(f"With {along} to the power of {slope:.2f}")
    return found


def figure(growth: pd.DataFrame, place: Path) -> None:
    """Log-log plots, side by side."""
    panels = []
    for along, rows in growth.dropna(subset="draw").groupby("along", sort=False):
        panels.append(
            alt.Chart(rows)
            .mark_line(point=True)
            .encode(
                alt.X(along).scale(type="log").title(along),
                alt.Y("draw").scale(type="log").title("seconds of a draw"),
            )
            .properties(width=200, height=180)
        )
    alt.hconcat(*panels).save(place)


if __name__ == "__main__":
    main()
