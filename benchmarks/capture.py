"""How much of the bare forward pass's throughput capture keeps, and how its memory grows.

ResNet-20 on CIFAR-10, every block's convolutions and the three stages; SqueezeNet 1.1 on ImageNet
images at 227 x 227, its squeeze layers and the last block. All passes read the same loader with the
same batch size, in alternation in one process; Captum's `LayerActivation` records the same layers
and is averaged over space alike. Memory is the growth of a process of its own.

    NEUCEPT_DATA=... python benchmarks/capture.py [--networks resnet20 squeezenet] [--repeats 5]

Writes ``benchmarks/results/capture.json`` and ``docs/benchmarks/capture.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from captum.attr import LayerActivation
from machine import forget_peak, machine, peak
from networks import ROOT, SOURCES
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

import neucept.activations as na
from neucept.runtime import freed_memory_kept

SAMPLES = {"resnet20": 10_000, "squeezenet": 600}
BATCH = {"resnet20": 256, "squeezenet": 32}
BARE = "bare forward, memory kept"
"""A forward pass that does not lose time to the allocator: the strictest that capture can be
compared with."""

GROWTH = (1_000, 10_000)
"""Samples whose peak memory is compared."""

Times = dict[str, list[float]]


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    if arguments.child is not None:
        print(json.dumps(grown(arguments.child)))
        return
    place = ROOT / "benchmarks/results/capture.json"
    old = json.loads(place.read_text()) if place.exists() else {}
    content: dict[str, Any] = {"passes": old.get("passes", {}), "memory": []}
    for network in arguments.networks:
        content["passes"][network] = passes(network, arguments.repeats)
    for samples in GROWTH:
        content["memory"].append(memory(samples))
        print(content["memory"][-1], flush=True)
    write({**content, **vars(arguments), **machine("torch", "numpy", "zarr", "captum")})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(SAMPLES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def example(network: str, samples: int) -> tuple[nn.Module, Dataset]:
    """A network and some images, held as tensors, so that reading costs nothing."""
    model, data = SOURCES[network]()
    return model.eval(), Subset(data, range(min(samples, len(data))))


def recorded(model: nn.Module) -> list[str]:
    """The layers whose neurons are recorded."""
    stages = ("layer1", "layer2", "layer3", "fire9")
    return [
        name
        for name, module in model.named_modules()
        if name in stages
        or (isinstance(module, nn.Conv2d) and name.startswith("layer"))
        or name.endswith("squeeze1x1")
    ]


def passes(network: str, repeats: int) -> dict[str, Any]:
    """Images per second of every pass, and the share of the bare ones that it keeps."""
    model, dataset = example(network, SAMPLES[network])
    layers = recorded(model)
    runs = {
        BARE: lambda samples: bare_kept(model, samples),
        "bare forward": lambda samples: bare(model, samples),
        "capture, in memory": lambda samples: na.capture(model, samples, layers, device="cpu"),
        "capture, to a folder": lambda samples: to_folder(model, samples, layers),
        "Captum's LayerActivation": lambda samples: captum(model, samples, layers),
    }
    seconds = alternate(runs, dataset, BATCH[network], repeats)
    rows = [
        {
            "pass": name,
            "images per second": len(dataset) / median(times),
            "of the bare forward": ratio(seconds, "bare forward", name),
            "of the bare forward, memory kept": ratio(seconds, BARE, name),
        }
        for name, times in seconds.items()
    ]
    for row in rows:
        print(network, row, flush=True)
    return {"rows": rows, "seconds": seconds, "layers": layers, "samples": len(dataset)}


@torch.no_grad()
def bare(model: nn.Module, loader: DataLoader) -> None:
    for inputs, *_ in loader:
        model(inputs)


def bare_kept(model: nn.Module, loader: DataLoader) -> None:
    with freed_memory_kept():
        bare(model, loader)


def to_folder(model: nn.Module, loader: DataLoader, layers: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        na.capture(model, loader, layers, device="cpu", to=Path(folder) / "activations.zarr")


@torch.no_grad()
def captum(model: nn.Module, loader: DataLoader, layers: list[str]) -> list[Tensor]:
    """What capture records, by Captum: every layer in one pass, averaged over space."""
    method = LayerActivation(model, [model.get_submodule(name) for name in layers])
    found: list[list[Tensor]] = [[] for _ in layers]
    for inputs, *_ in loader:
        for values, one in zip(found, method.attribute(inputs), strict=True):
            values.append(one.mean((2, 3)))
    return [torch.cat(values) for values in found]


def alternate(
    runs: dict[str, Callable[[DataLoader], object]], dataset: Dataset, batch: int, repeats: int
) -> Times:
    """Seconds of each pass; they take turns, so that a busy spell hits all of them."""
    loader = DataLoader(dataset, batch_size=batch)
    seconds: Times = {name: [] for name in runs}
    warm_up = DataLoader(Subset(dataset, range(batch)), batch)
    for run in runs.values():
        run(warm_up)
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run(loader)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: Times, one: str, other: str) -> float:
    """Median over the rounds of how many times as long `one` takes as `other`."""
    return median(b / t for b, t in zip(seconds[one], seconds[other], strict=True))


def memory(samples: int) -> dict[str, float]:
    """Median, least and most over some processes: what an allocator keeps is partly chance."""
    command = [sys.executable, __file__, "--child", str(samples)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(5)]
    found = [json.loads(done.stdout.splitlines()[-1]) for done in runs]
    peaks = [one["peak, MB"] for one in found]
    return {
        "samples": samples,
        "before, MB": median(one["before, MB"] for one in found),
        "peak, MB": median(peaks),
        "least": min(peaks),
        "most": max(peaks),
    }


def grown(samples: int) -> dict[str, float]:
    """Peak memory beyond what the process held, of capturing ResNet-20 to a folder, in MB."""
    model, dataset = example("resnet20", samples)
    loader = DataLoader(dataset, batch_size=BATCH["resnet20"])
    layers = recorded(model)
    to_folder(model, DataLoader(Subset(dataset, range(256)), 256), layers)
    before = forget_peak()
    to_folder(model, loader, layers)
    return {"samples": samples, "before, MB": 1024 * before, "peak, MB": 1024 * peak()}


def write(content: dict[str, Any]) -> None:
    """The JSON and the page."""
    (ROOT / "benchmarks/results/capture.json").write_text(json.dumps(content, indent=1) + "\n")
    lines = ["---", "orphan: true", "---", "", "# Capture", ""]
    lines.append(
        f"Written by `benchmarks/capture.py`; {content['threads']} threads, medians of "
        f"{content['repeats']} passes in alternation."
    )
    for network, found in content["passes"].items():
        lines += ["", f"## {network}: {found['samples']:,} images, {len(found['layers'])} layers"]
        lines += ["", *table(found["rows"])]
    lines += ["", "## Memory of a process that captures ResNet-20 to a folder", ""]
    lines += table(content["memory"])
    (ROOT / "docs/benchmarks/capture.md").write_text("\n".join(lines) + "\n")


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| " + " | ".join(rows[0]) + " |", "| --- " * len(rows[0]) + "|"]
    for row in rows:
        cells = (f"{v:.3g}" if v < 100 else f"{v:,.0f}" for v in list(row.values())[1:])
        lines.append("| " + " | ".join([f"{next(iter(row.values()))}", *cells]) + " |")
    return lines


if __name__ == "__main__":
    main()
