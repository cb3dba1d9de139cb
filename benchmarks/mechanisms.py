"""Mechanisms with a known answer: are they found, in their number, and one where there is one?

(a) heads that merge known classes; (b) marks planted as a second road to a class; (c) data of a
single group; (d) affections with a hidden grade; (e) networks whose edges are written down; and
foreign inputs that a network takes for a class. Beside our groups, with the number chosen by
ourselves, stand methods that are told the number: see `mechanism_baselines.py`.

    NEUCEPT_DATA=... python benchmarks/mechanisms.py [--parts merged shortcuts ...] [--minutes 100]

Needs Fashion-MNIST too, from Debian's dataset-fashion-mnist or in the folder that NEUCEPT_FASHION
names. Finished pieces stand in the JSON, so a run that was cut short goes on; ours are measured
again when the code of `neucept.mechanisms` has changed. Activations and critical neurons are kept
in ``benchmarks/cache/mechanisms``.

Writes ``benchmarks/results/mechanisms.json`` and ``docs/benchmarks/mechanisms.md``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from mechanism_baselines import all_groupings, by_input, orders, published_order
from mechanism_cases import PARTS, Case, Subject, cases
from mechanism_circuits import circuits
from mechanism_cuts import branches, cut_of_mark
from mechanism_edges import REPEATS, edges
from mechanism_foreign import FOREIGN, Foreign, Looked
from mechanism_page import write_page
from mechanism_single import SEEDS, SHAPES, SIZES, every_neuron, single
from networks import CACHE, ROOT
from scipy.stats import spearmanr

import neucept as nc
from neucept.critical import Critical
from neucept.errors import InputError
from neucept.mechanisms.discover import KEPT as CORE_SHARE
from neucept.runtime import Checkpoints, digest, write_bytes, writing

RESULTS = ROOT / "benchmarks" / "results" / "mechanisms.json"
KEPT = CACHE / "mechanisms"
LAYERS_DONE = Checkpoints(KEPT / "layers")

SEARCH_VERSION = 1
BASELINE_VERSION = 1
CIRCUITS_VERSION = 1
CUTS_VERSION = 2
"""Raised when what makes a piece changes, so that it is made again."""

AUDITED = nc.Search(edges=False)
"""The default, without the lines between layers, which no mechanism needs."""

UNAUDITED = replace(AUDITED, dither=0.0, floor=0.1)
"""What audits choose for most layers of such networks (`docs/benchmarks/precision.md`)."""

ALONE = replace(UNAUDITED, keep=0.0)
"""For shortcuts and grades, without cores: sixteen networks more would take most of the time."""


CONNECTED = replace(UNAUDITED, edges=True)
"""For circuits, which are read off the edges."""


class Watch:
    """Seconds spent on something, those of runs that were cut short among them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = float(path.read_text()) if path.exists() else 0.0
        self.begun = time.perf_counter()

    def seconds(self) -> float:
        """So far."""
        return self.before + time.perf_counter() - self.begun

    def __call__(self, stage: str, done: int, of: int) -> None:
        """As a progress callback: keep what was spent."""
        del stage, done, of
        write_bytes(self.path, f"{self.seconds():.1f}".encode())


@dataclass(frozen=True)
class Prepared:
    """What the methods of one case share, made when first asked for."""

    case: Case
    workers: int | None
    quick: bool = False

    @property
    def search(self) -> nc.Search:
        """How our critical neurons are searched."""
        if self.case.part in ("shortcuts", "graded"):
            return ALONE
        return UNAUDITED if self.quick else AUDITED

    @property
    def code(self) -> list[str]:
        """What changes when our own pieces have to be measured again."""
        return [mechanism_code(), digest(repr(self.search))[:8]]

    @cached_property
    def subject(self) -> Subject:
        """The network and its images."""
        return self.case.make()

    @cached_property
    def acts(self) -> nc.Activations:
        """What its layers give, from the cache."""
        state = [value.numpy() for value in self.subject.model.state_dict().values()]
        key = digest(self.case.layers, self.subject.images.numpy(), *state)
        place = KEPT / f"{self.case.name}-{key}.zarr"
        if not place.exists():
            with writing(place) as temporary:
                nc.capture(self.subject.model, self.subject.images, self.case.layers, to=temporary)
        return nc.Activations.open(place)

    def searched(self, target: int, kind: str, search: nc.Search) -> tuple[Critical, float]:
        """The critical neurons of a class, and the seconds it took to find them.

        What audits choose for a layer is kept, and serves the other classes of the network.
        """
        key = digest(self.acts.digest(), repr(search), SEARCH_VERSION)
        place = KEPT / f"{self.case.name}-{target}-{kind}-{key}"
        if not place.exists():
            watch = Watch(place.with_suffix(".spent"))
            crit = nc.find_critical(
                self.acts,
                target,
                search,
                n_jobs=self.workers,
                progress=watch,
                checkpoints=LAYERS_DONE,
            )
            with writing(place) as temporary:
                crit.save(temporary)
                (temporary / "seconds.txt").write_text(f"{watch.seconds():.1f}")
        return Critical.load(place), float((place / "seconds.txt").read_text())

    def samples(self, target: int) -> np.ndarray:
        """Those predicted as the class."""
        return np.flatnonzero(self.acts.predictions == target)


class Pieces:
    """What is measured so far, in the JSON."""

    def __init__(self) -> None:
        content = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        self.all: dict[str, dict[str, Any]] = content.get("pieces", {})
        self.begun = time.perf_counter()

    def recall(self, name: str, kind: str, code: object, make: Callable[[], dict]) -> None:
        """Measure a piece unless it stands there, by the same code; what failed is tried again."""
        own = self.all.setdefault(name, {})
        before = own.get(kind, {"failed": ""})
        if before.get("code") == code and "failed" not in before:
            return
        try:
            own[kind] = {"code": code, **make()}
        except InputError as error:
            own[kind] = {"code": code, "failed": str(error)}
        print(f"{time.perf_counter() - self.begun:.0f} s  {name}: {shown(own[kind])}", flush=True)
        self.save()

    def save(self) -> None:
        """Write the JSON."""
        content = {
            "pieces": self.all,
            **machine("numpy", "torch", "scipy", "scikit-learn", "captum"),
        }
        write_bytes(RESULTS, (json.dumps(content, indent=1) + "\n").encode())


def shown(piece: dict) -> str:
    """A piece in few words, for whoever watches."""
    if "methods" in piece:
        best = max(piece["methods"].items(), key=lambda item: item[1]["ami"])
        return f"best of the others {best[1]['ami']:.3f} ({best[0]})"
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in piece.items()
        if key != "code"
    )


def mechanism_code() -> str:
    """What changes when the code that finds mechanisms does."""
    return _code("mechanisms/*.py")


def cutting_code() -> str:
    """What changes when the code that finds and makes cuts does."""
    names = ("selectivity", "cutsearch", "cutrecord", "cutting", "donors", "halves", "swapping")
    return _code(*(f"evaluation/{name}.py" for name in names))


def _code(*patterns: str) -> str:
    folder = ROOT / "src" / "neucept"
    paths = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return digest(*(path.read_bytes() for path in paths))[:12]


def run_case(case: Case, pieces: Pieces, arguments: argparse.Namespace) -> None:
    """Everything on one network; its images are forgotten afterwards."""
    ready = Prepared(case, arguments.workers, arguments.quick)
    run = run_graded if case.part == "graded" else run_groups
    run(ready, pieces)
    if case.part == "shortcuts":
        run_cuts(ready, pieces)


def run_groups(ready: Prepared, pieces: Pieces) -> None:
    """All methods on every class and layer of a network."""
    case = ready.case
    for target, (name, groups) in case.classes.items():
        for layer in case.layers:
            cell = f"{case.part} | {case.name} | {name} | {layer}"
            pieces.recall(cell, "about", 1, lambda: about(ready, target, groups))  # noqa: B023
            pieces.recall(cell, "ours", ready.code, lambda: ours(ready, target, layer, groups))  # noqa: B023
            pieces.recall(
                cell,
                "others",
                BASELINE_VERSION,
                lambda: {"methods": others(ready, target, layer, groups)},  # noqa: B023
            )


def run_cuts(ready: Prepared, pieces: Pieces) -> None:
    """What the cut of the mark's mechanism takes, at every layer."""
    case = ready.case
    code = [*ready.code, cutting_code(), CUTS_VERSION]
    for target, (name, _) in case.classes.items():
        crit, _ = ready.searched(target, "ours", ready.search)
        for layer in case.layers:
            make = partial(cut_of_mark, case, ready.subject, ready.acts, crit, layer)
            pieces.recall(f"{case.part} | {case.name} | {name} | {layer}", "cut", code, make)


def run_circuits(case: Case, pieces: Pieces, workers: int | None) -> None:
    """How much of the prediction the circuits of a class carry, beside other neurons."""
    ready = Prepared(case, workers, quick=True)
    code = [mechanism_code(), digest(repr(CONNECTED))[:8], CIRCUITS_VERSION]
    for target, (name, _) in case.classes.items():

        def make(target: int = target) -> dict:
            crit, _ = ready.searched(target, "connected", CONNECTED)
            return circuits(ready.subject, ready.acts, crit, workers)

        pieces.recall(f"circuits | {case.name} | {name}", "ours", code, make)


def about(ready: Prepared, target: int, groups: int) -> dict:
    rows = ready.samples(target)
    return {"groups": groups, "samples": len(rows), **ready.subject.about}


def ours(ready: Prepared, target: int, layer: str, groups: int) -> dict:
    """Our groups: by default, from the core, and with the true number imposed."""
    crit, searching = ready.searched(target, "ours", ready.search)
    truth = ready.subject.truth[ready.samples(target)]
    found: dict[str, Any] = {
        "searching": searching,
        "audited": ready.search == AUDITED,
        "width": ready.acts.n_neurons(layer),
    }
    variants: dict[str, dict] = {"default": {}, "given": {"n_mechanisms": groups}}
    if ready.search.keep:
        variants["core"] = {"neurons": "core"}
    for name, settings in variants.items():
        if name == "core" and core_size(crit, layer, found["width"]) == found["default"]["neurons"]:
            found[name] = found["default"]
            continue
        begun = time.perf_counter()
        mech = nc.discover_mechanisms(
            ready.acts, crit, layers=[layer], n_jobs=ready.workers, **settings
        )
        found[name] = {
            "ami": ami(mech.labels, truth),
            "number": mech.n_mechanisms,
            "neurons": int(mech.ranking["neurons"].sum()),
            "support": float(mech.ranking["support"].sum()),
            "seconds": time.perf_counter() - begun,
        }
        if name == "default" and ready.case.part == "shortcuts":
            found |= two_way(mech, truth)
    return found


def core_size(crit: Critical, layer: str, width: int) -> int:
    """How many neurons ``neurons="core"`` takes; see `discover_mechanisms`."""
    return min(len(crit.core(layer, CORE_SHARE)), max(1, width // 2))


def two_way(mech: nc.Mechanisms, truth: np.ndarray) -> dict[str, float]:
    """How well the tree parts two groups: its first cut, and its best branch against the rest."""
    if mech.n_leaves < 2:
        return {"cut": 0.0, "best cut": 0.0}
    best = max(ami(branch, truth) for branch in branches(mech))
    return {"cut": ami(mech.cut(2), truth), "best cut": best}


def others(ready: Prepared, target: int, layer: str, groups: int) -> dict[str, dict]:
    crit, spent = ready.searched(target, "published", nc.paper_recipe())
    rows = ready.samples(target)
    truth, subject = ready.subject.truth[rows], ready.subject
    top = published_order(crit, layer), spent / len(ready.case.layers)
    found = all_groupings(
        ready.acts, subject.model, subject.images, target, layer, rows, groups, top
    )
    if layer == ready.case.layers[-1]:
        found["spectral, input relevance"] = by_input(
            subject.model, subject.images[rows], target, groups
        )
    return {
        name: {
            "ami": ami(labels, truth),
            "number": len(np.unique(labels[labels >= 0])),
            "seconds": seconds,
        }
        for name, (labels, seconds) in found.items()
    }


def ami(labels: np.ndarray, truth: np.ndarray) -> float:
    return nc.agreement(np.asarray(labels).astype(np.int64), truth).ami


def run_single(pieces: Pieces, workers: int | None) -> None:
    """How often a single group is split."""
    for samples, neurons in SIZES:
        for shape in SHAPES:
            make = partial(numbers, shape, samples, neurons, workers)
            name = f"single | {shape} | {neurons} neurons, {samples} samples"
            pieces.recall(name, "ours", mechanism_code(), make)


def numbers(shape: str, samples: int, neurons: int, workers: int | None) -> dict:
    begun = time.perf_counter()
    found = []
    for seed in range(SEEDS):
        acts = single(shape, samples, neurons, seed)
        mech = nc.discover_mechanisms(acts, every_neuron(acts), seed=seed, n_jobs=workers)
        found.append(mech.n_mechanisms)
    return {"numbers": found, "seconds": time.perf_counter() - begun}


def run_edges(pieces: Pieces, workers: int | None) -> None:
    """How many of the edges named in planted networks are wrong."""
    for repeat in range(REPEATS):
        search = nc.Search(dither=0.0, floor=0.1, keep=0.0, seed=repeat)
        make = partial(edges, search, repeat, workers)
        pieces.recall(f"edges | {repeat}", "ours", digest(repr(search))[:8], make)


def run_foreign(one: Foreign, pieces: Pieces, workers: int | None) -> None:
    """How well low typicality finds foreign inputs."""
    looked = Looked(one, ALONE, workers)
    code = [mechanism_code(), digest(repr(ALONE))[:8]]
    for target in one.classes:
        make = partial(looked.unusual, target)
        pieces.recall(f"foreign | {one.name} | {target}", "ours", code, make)


def run_graded(ready: Prepared, pieces: Pieces) -> None:
    """Does an order of the samples follow the hidden grade?"""
    case = ready.case
    for target, (name, _) in case.classes.items():
        for layer in case.layers:
            cell = f"{case.part} | {case.name} | {name} | {layer}"
            pieces.recall(cell, "about", 1, lambda: about(ready, target, 1))  # noqa: B023
            pieces.recall(
                cell,
                "ours",
                ready.code,
                lambda: our_order(ready, target, layer),  # noqa: B023
            )
            pieces.recall(
                cell,
                "others",
                BASELINE_VERSION,
                lambda: {"orders": other_orders(ready, target, layer)},  # noqa: B023
            )


def our_order(ready: Prepared, target: int, layer: str) -> dict:
    crit, searching = ready.searched(target, "ours", ready.search)
    begun = time.perf_counter()
    mech = nc.discover_mechanisms(ready.acts, crit, layers=[layer], n_jobs=ready.workers)
    order = getattr(mech, "order", None)
    grade = ready.subject.truth[ready.samples(target)]
    return {
        "searching": searching,
        "number": mech.n_mechanisms,
        "support": float(mech.ranking["support"].sum()),
        "order": None if order is None else monotone(np.asarray(order), grade),
        "seconds": time.perf_counter() - begun,
    }


def other_orders(ready: Prepared, target: int, layer: str) -> dict[str, float]:
    rows = ready.samples(target)
    grade = ready.subject.truth[rows]
    found = orders(ready.acts, target, layer, rows)
    return {name: monotone(place, grade[which]) for name, (which, place) in found.items()}


def monotone(place: np.ndarray, grade: np.ndarray) -> float:
    """Absolute rank correlation with the grade, among the samples that are affected at all."""
    really = grade > 0
    return float(abs(spearmanr(place[really], grade[really]).statistic))


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.workers or torch.get_num_threads())
    pieces = Pieces()
    todo: list[tuple[str, Callable[[], None]]] = []
    for case in cases():
        todo.append((case.part, partial(run_case, case, pieces, arguments)))
    todo += [
        ("circuits", partial(run_circuits, case, pieces, arguments.workers))
        for case in cases()
        if case.part == "merged"
    ]
    todo.append(("single", partial(run_single, pieces, arguments.workers)))
    todo.append(("edges", partial(run_edges, pieces, arguments.workers)))
    todo += [("foreign", partial(run_foreign, one, pieces, arguments.workers)) for one in FOREIGN]
    for run in (run for part in arguments.parts for own, run in todo if own == part):
        if time.perf_counter() - pieces.begun > 60 * arguments.minutes:
            print("Out of time; what is missing is measured when run again.")
            break
        run()
    write_page(pieces.all)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--minutes", type=float, default=100, help="start no network after these")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--quick", action="store_true", help="no audits, as for small networks")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
