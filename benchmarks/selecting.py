"""How long one selection takes: 10,000 samples of the 64 channels of ResNet-20's last stage.

    NEUCEPT_DATA=... python benchmarks/selecting.py [--repeats 3]

Writes ``benchmarks/results/selecting.json`` and ``docs/benchmarks/selecting.md``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
from machine import machine
from networks import ROOT, activations

import neucept as nc

GIVEN = {"dither": 0.0, "floor": 0.03}
TARGET = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    acts = activations("resnet20", ["layer3"])
    x = acts.matrix("layer3").astype(np.float64)
    scores = np.stack([acts.class_score(label) for label in range(10)], axis=1)
    one = scores[:, TARGET]
    sampler = nc.fit_sampler(x)
    ways: dict[str, Callable[[], nc.Selection]] = {
        "one target, density fitted": lambda: nc.select(x, one, sampler=sampler, **GIVEN),
        "ten joint targets, density fitted": lambda: nc.select(x, scores, sampler=sampler, **GIVEN),
        "one target, with the density": lambda: nc.select(x, one, **GIVEN),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(timed(way))
    # "auto" is remembered, so its first selection can be timed once.
    for name in ('"auto", first on this layer', '"auto", again'):
        seconds[name] = [timed(lambda: nc.select(x, one, sampler=sampler))]
    write({name: float(np.median(taken)) for name, taken in seconds.items()}, seconds)


def timed(way: Callable[[], nc.Selection]) -> float:
    begun = time.perf_counter()
    way()
    return time.perf_counter() - begun


def write(medians: dict[str, float], seconds: dict[str, list[float]]) -> None:
    """The JSON and the page."""
    unit = medians["one target, density fitted"]
    content = {"seconds": seconds, "median": medians, **machine("numpy", "torch", "scikit-learn")}
    place = ROOT / "benchmarks" / "results" / "selecting.json"
    place.write_text(json.dumps(content, indent=1) + "\n")
    said = __doc__.splitlines()[0]
    how = "Written by `benchmarks/selecting.py`; medians, in alternation, on 2 cores."
    lines = ["---", "orphan: true", "---", "", "# One selection", "", f"{said} {how}"]
    lines += ["", "| what | times one target | seconds |", "| --- | --- | --- |"]
    lines += [f"| {name} | {s / unit:.2f} | {s:.1f} |" for name, s in medians.items()]
    (ROOT / "docs" / "benchmarks" / "selecting.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines[8:]))


if __name__ == "__main__":
    main()
