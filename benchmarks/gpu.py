"""The default search with a GPU and without one: seconds, memory, and whether both say the same.

The network statistic and the mixture are fitted with torch, on CUDA where there is one. Each case
is run in processes of their own, with the GPU and with it hidden, on the same machine:

    python benchmarks/gpu.py [--cases relu:512:20000 ...] [--audits relu:2048:20000]

Cases are relu:neurons:samples, a layer of `speed.synthetic` whose first quarter is planted, or a
layer of a real network (which needs NEUCEPT_DATA). Without a GPU it says so and writes nothing.
Writes ``benchmarks/results/gpu.json`` and ``docs/benchmarks/gpu.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from machine import machine
from networks import ROOT, activations
from speed import peak, synthetic, table

import neucept as nc

CASES = ("resnet20:layer3", "relu:512:20000", "relu:2048:20000")
GIVEN: dict[str, Any] = {"dither": 0.0, "floor": 0.03}
TARGET = 3


def main() -> None:
    arguments = parse()
    if arguments.child:
        name, case = json.loads(arguments.child)
        print(json.dumps({"given": given, "audited": audited}[name](case)))
        return
    if not torch.cuda.is_available():
        sys.exit("There is no GPU that PyTorch can use here: nothing was measured.")
    selections, audits = [], []
    for case in arguments.cases:
        selections.append(side_by_side(case, arguments.limit))
        print(selections[-1], flush=True)
        write(selections, audits)
    for case in arguments.audits:
        audits.append({"case": case, **child("audited", case, hidden=False)})
        print(audits[-1], flush=True)
        write(selections, audits)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", default=CASES)
    parser.add_argument("--audits", nargs="*", default=CASES[1:])
    parser.add_argument("--limit", type=float, default=600, help="seconds of a run without the GPU")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def side_by_side(case: str, limit: float) -> dict[str, Any]:
    """Settings given: with the GPU and without it."""
    first = child("given", case, hidden=False)
    row = {
        "case": case,
        "density, GPU": first["density"],
        "selection, GPU": first["seconds"],
        "memory, GPU": first["cuda"],
        "named": len(first["named"]),
        "of them wrong": wrong(case, first["named"]),
    }
    try:
        plain = child("given", case, hidden=True, limit=limit)
    except subprocess.TimeoutExpired:
        return {**row, "selection, CPU": f"over {limit:.0f}"}
    one, other = set(first["named"]), set(plain["named"])
    either = one | other
    return {
        **row,
        "density, CPU": plain["density"],
        "selection, CPU": plain["seconds"],
        "memory, CPU": plain["peak"] - plain["before"],
        "Jaccard of both": len(one & other) / len(either) if either else 1.0,
        "times as fast": (plain["density"] + plain["seconds"])
        / (first["density"] + first["seconds"]),
    }


def wrong(case: str, named: list[int]) -> int | None:
    """How many of the named are not planted, where there is a truth."""
    parts = case.split(":")
    return sum(j >= int(parts[1]) // 4 for j in named) if len(parts) == 3 else None


def child(name: str, case: str, *, hidden: bool, limit: float | None = None) -> dict[str, Any]:
    """A measurement in a process of its own."""
    environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": ""} if hidden else {})}
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps([name, case])],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        check=True,
        timeout=limit,
    )
    return json.loads(done.stdout.splitlines()[-1])


def layer_of(case: str) -> tuple[np.ndarray, np.ndarray]:
    """Activations and one target."""
    network, layer, *samples = case.split(":")
    if samples:
        return planted(int(samples[0]), int(layer))
    acts = activations(network, [layer])
    return acts.matrix(layer).astype(np.float64), acts.class_score(TARGET)


def planted(samples: int, neurons: int) -> tuple[np.ndarray, np.ndarray]:
    """A ReLU layer and a network over its first quarter."""
    x, _ = synthetic(samples, neurons, 1)
    behind = x[:, : neurons // 4]
    random = np.random.default_rng(1)
    above = np.maximum(behind @ random.standard_normal((neurons // 4, 16)), 0)
    return x, above @ random.standard_normal(16)


def given(case: str) -> dict[str, Any]:
    """One selection of given settings; the device is warm before."""
    x, y = layer_of(case)
    nc.select(x[:1000, :8], y[:1000], draws=1, **GIVEN)
    before, begun = peak(), time.perf_counter()
    sampler = nc.fit_sampler(x)
    fitted = time.perf_counter()
    found = nc.select(x, y, sampler=sampler, **GIVEN)
    return {
        "density": fitted - begun,
        "seconds": time.perf_counter() - fitted,
        "named": [int(j) for j in np.flatnonzero(found.selected)],
        **memory(before),
    }


def audited(case: str) -> dict[str, Any]:
    """The default from density and audit to the neurons."""
    x, y = layer_of(case)
    before, begun = peak(), time.perf_counter()
    found = nc.select(x, y)
    return {
        "seconds": time.perf_counter() - begun,
        "named": len(np.flatnonzero(found.selected)),
        "dither": found.settings["dither"],
        "floor": found.settings["floor"],
        **memory(before),
    }


def memory(before: float) -> dict[str, float]:
    """Peaks in GB."""
    cuda = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0
    return {"before": before, "peak": peak(), "cuda": cuda}


def write(selections: list[dict[str, Any]], audits: list[dict[str, Any]]) -> None:
    """The JSON and the page; after every case, so that a run that is cut short leaves something."""
    device = torch.cuda.get_device_name()
    content: dict[str, Any] = {"device": device, "selections": selections, "audits": audits}
    content |= machine("numpy", "torch", "scikit-learn", "numba")
    place = ROOT / "benchmarks" / "results" / "gpu.json"
    place.write_text(json.dumps(content, indent=1) + "\n")
    lines = ["---", "orphan: true", "---", "", "# With a GPU", ""]
    lines.append(
        f"Written by `benchmarks/gpu.py`, everything in one run: {device} beside "
        f"{content['machine']}. Seconds; memory in GB, beyond the data."
    )
    lines += ["", "## One selection, settings given", "", *table(pd.DataFrame(selections))]
    if audits:
        lines += ["", "## The default, audit included", "", *table(pd.DataFrame(audits))]
    (ROOT / "docs" / "benchmarks" / "gpu.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
