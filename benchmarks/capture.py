"""How much of the bare forward pass's throughput capture keeps, on ResNet-20 and CIFAR-10.

Both read the same loader with the same batch size, in alternation in one process:

    NEUCEPT_DATA=... python benchmarks/capture.py [--samples 10000] [--repeats 5] [--threads 2]

Prints a table and writes ``benchmarks/results/capture.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from machine import machine
from torch import nn
from torch.utils.data import DataLoader, Subset

import neucept.activations as na
from neucept.runtime import freed_memory_kept

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "cifar10_resnet20"
WANTED_RATIO = 0.85
BARE = "bare, memory kept"
"""What capture is compared with: a forward pass that does not lose time to the allocator either."""

Times = dict[str, list[float]]


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    model, loader = example(arguments.samples, arguments.batch_size)
    layers = [
        name
        for name, module in model.named_modules()
        if name in ("layer1", "layer2", "layer3")
        or (isinstance(module, nn.Conv2d) and name.startswith("layer"))
    ]
    passes = {
        BARE: lambda samples: bare_kept(model, samples),
        "bare forward": lambda samples: bare(model, samples),
        "capture, in memory": lambda samples: na.capture(model, samples, layers, device="cpu"),
        "capture, to a folder": lambda samples: to_folder(model, samples, layers),
    }
    seconds, cpu_seconds = alternate(passes, loader, arguments.repeats)
    rows = table(seconds, cpu_seconds, len(loader.dataset))
    print(f"ResNet-20, {len(loader.dataset)} images, {len(layers)} layers, ", end="")
    print(f"batch {arguments.batch_size}, {arguments.threads} threads")
    print(
        f"{'pass':24}{'images/s':>10}{'of bare':>9}{'of cpu':>9}   (medians of {arguments.repeats})"
    )
    for row in rows:
        print(
            f"{row['pass']:24}{row['images_per_second']:10.0f}{row['ratio']:9.3f}{row['cpu_ratio']:9.3f}"
        )
    worst = min(row["ratio"] for row in rows if str(row["pass"]).startswith("capture"))
    print(
        f"least ratio {worst:.3f}, wanted {WANTED_RATIO}: {'kept' if worst >= 0.85 else 'MISSED'}"
    )
    result = {
        "rows": rows,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "layers": layers,
        **vars(arguments),
        **machine("torch", "numpy", "zarr"),
    }
    result["out"] = str(arguments.out)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/capture.json")
    return parser.parse_args()


def example(samples: int, batch_size: int) -> tuple[nn.Module, DataLoader]:
    """The network and the images of the example that users run."""
    sys.path.insert(0, str(EXAMPLE))
    import images
    import network

    dataset = images.load()
    chosen = Subset(dataset, range(min(samples, len(dataset))))
    return network.build(), DataLoader(chosen, batch_size=batch_size)


@torch.no_grad()
def bare(model: nn.Module, loader: DataLoader) -> None:
    model.eval()
    for inputs, _ in loader:
        model(inputs)


def bare_kept(model: nn.Module, loader: DataLoader) -> None:
    with freed_memory_kept():
        bare(model, loader)


def to_folder(model: nn.Module, loader: DataLoader, layers: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        na.capture(model, loader, layers, device="cpu", to=Path(folder) / "activations.zarr")


def alternate(
    passes: dict[str, Callable[[DataLoader], object]], loader: DataLoader, repeats: int
) -> tuple[Times, Times]:
    """Seconds of each pass, by the clock and of the processor.

    They take turns, so that a busy spell hits all of them.
    """
    seconds: Times = {name: [] for name in passes}
    cpu_seconds: Times = {name: [] for name in passes}
    warm_up = DataLoader(Subset(loader.dataset, range(loader.batch_size)), loader.batch_size)
    for run in passes.values():
        run(warm_up)
    for _ in range(repeats):
        for name, run in passes.items():
            start, work = time.perf_counter(), time.process_time()
            run(loader)
            seconds[name].append(time.perf_counter() - start)
            cpu_seconds[name].append(time.process_time() - work)
    return seconds, cpu_seconds


def table(seconds: Times, cpu_seconds: Times, samples: int) -> list[dict[str, float | str]]:
    return [
        {
            "pass": name,
            "images_per_second": samples / median(times),
            "ratio": ratio(seconds, name),
            "cpu_ratio": ratio(cpu_seconds, name),
        }
        for name, times in seconds.items()
    ]


def ratio(seconds: Times, name: str) -> float:
    """Median over the rounds of the time of `BARE` / time."""
    return median(b / t for b, t in zip(seconds[BARE], seconds[name], strict=True))


if __name__ == "__main__":
    main()
