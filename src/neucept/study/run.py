"""The whole study: capture, critical neurons, mechanisms, ablation, pictures; each resumable."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from neucept.activations import (
    Activations,
    Batches,
    Target,
    capture,
    predicted_as,
    random_state_kept,
)
from neucept.critical import Critical, find_critical
from neucept.critical.population import check_near
from neucept.evaluation import ablate, agreement
from neucept.mechanisms import Mechanisms, discover_mechanisms
from neucept.runtime import Progress, digest, read_arrays, write_arrays
from neucept.sources import target_index
from neucept.study.associating import associations
from neucept.study.auditing import with_audits
from neucept.study.checks import check_readable, check_samples
from neucept.study.evidence import (
    layer_entries,
    mechanism_tables,
    near_entry,
    sample_table,
    target_entry,
)
from neucept.study.folder import AUDIT, AUDIT_TABLE, CRITICAL, Study, Workplace
from neucept.study.identity import (
    check_repeatable,
    check_same_outputs,
    identity_of,
    layers_to_capture,
)
from neucept.study.metadata import Metadata, check_given, metadata_of
from neucept.study.pictures import write_pictures
from neucept.study.reliability import own_reliability
from neucept.study.selective import cuts
from neucept.study.settings import StudySettings
from neucept.study.stages import Stages


@random_state_kept()
def run_study(
    model: nn.Module,
    data: Any,
    target: int | str | tuple[int | str, int | str],
    to: Path | str,
    settings: StudySettings = StudySettings(),  # noqa: B008 - frozen
    *,
    classes: Sequence[str] | None = None,
    known: Sequence[int] | None = None,
    metadata: pd.DataFrame | None = None,
    groups: str | Sequence[object] | np.ndarray | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> Study:
    """Study one class of one network on one set of samples, from capture to evidence.

    Args:
        model: The trained network; left exactly as it was found.
        data: A Dataset, DataLoader, tensor or re-iterable of batches, of inputs or (input, label).
        target: Index or name of the class whose predictions are studied; a pair of two for a
            contrast: why the first, of which the samples are, rather than the second.
        to: The study folder. A study that was cut short there is resumed; one that is finished is
            brought up to date with the settings; one of another network, data or class is
            refused.
        settings: Every option.
        classes: Names of the classes, in the order of the network's outputs.
        known: Sub-classes known from elsewhere, one per sample of `data`; they only score the
            mechanisms at the end, nothing learns from them.
        metadata: What else is known of the samples: one row each, in their order, or named by a
            column `id` or `position` or by an index of ids. Nothing learns from it either; which of
            it goes with the mechanisms is told at the end, see `associate`.
        groups: Which samples belong together, as those of one patient: a column of `metadata`, or
            one id for each sample. They are never parted; see `discover_mechanisms`.
        name: What the study is called on its page; the name of the network's class by default.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        The finished study, read from its folder.

    Raises:
        InputError: its subclasses say what is wrong with the network, data, settings or folder.
    """
    check_readable(data)
    check_given(metadata, groups)
    batches = Batches(data, settings.batch_size)
    index: Target = target_index(target, classes)
    check_repeatable(model, batches, settings.device)
    place = Workplace(Path(to), identity_of(model, batches, index))
    try:
        run = _Run(place, progress, model, data, batches, index, settings)
        acts = run.capture()
        check_samples(acts, index, classes, known)
        check_near(acts, index, settings.search, acts.layers)
        beside = metadata_of(acts, index, metadata, groups)
        place.accept()
        crit = run.critical(acts)
        mech = run.mechanisms(acts, crit, beside)
        run.tables(acts, mech)
        associations(run, mech, beside, settings.seed)
        run.ablation(acts, crit)
        taken = cuts(run, model, data, acts, crit, mech, beside, settings)
        run.pictures(mech)
        audits = place.audits()
        if not audits:
            place.forget(AUDIT, AUDIT_TABLE)
        place.save(
            finished=True,
            name=name or type(model).__name__,
            target=target_entry(index, classes),
            near=near_entry(crit),
            classes=None if classes is None else [str(c) for c in classes],
            layers=with_audits(layer_entries(acts, crit), audits),
            mechanisms=_mechanisms_entry(mech, known),
            metadata=beside.entry(),
            selectivity=taken,
            reliability=own_reliability(sample_table(acts, mech)),
            **_provenance(model, acts, index, settings),
        )
        run.checkpoints.clear()
    finally:
        place.close()
    return Study.open(to)


@dataclass
class _Run(Stages):
    """The stages of one study."""

    model: nn.Module
    data: Any
    batches: Batches
    target: Target
    settings: StudySettings

    def capture(self) -> Activations:
        store = self.place.place / "activations.zarr"
        layers = layers_to_capture(self.model, self.data, self.settings)
        identity = self.place.info["identity"]
        kept = {
            # Not the class: what a network gives for a sample does not depend on the question.
            "identity": {what: name for what, name in identity.items() if what != "class"},
            "layers": layers,
            "pool": self.settings.pool,
        }

        def compute() -> None:
            capture(
                self.model,
                self.data,
                layers,
                pool=self.settings.pool,
                batch_size=self.settings.batch_size,
                device=self.settings.device,
                to=store,
                progress=self.progress,
            )

        fresh = self.stage("capture", None, kept, ("activations.zarr",), compute)
        acts = Activations.open(store)
        if not fresh:
            check_same_outputs(self.model, self.batches, acts, self.settings.device)
        return acts

    def critical(self, acts: Activations) -> Critical:
        search = self.settings.search

        def compute() -> None:
            found = find_critical(
                acts,
                self.target,
                search,
                n_jobs=self.settings.n_jobs,
                progress=self.progress,
                checkpoints=self.checkpoints,
            )
            self.place.unfinish()
            found.save(self.place.place)

        files = ("critical.parquet", "edges.parquet", "kept.parquet", "critical.json")
        chosen = {"target": self.target, **asdict(search)}
        self.stage(CRITICAL, "capture", chosen, files, compute)
        return Critical.load(self.place.place)

    def mechanisms(self, acts: Activations, crit: Critical, beside: Metadata) -> Mechanisms:
        chosen: dict[str, Any] = {
            "neurons": self.settings.neurons,
            "n_mechanisms": self.settings.n_mechanisms,
            "max_mechanisms": self.settings.max_mechanisms,
            "seed": self.settings.seed,
        }
        path = self.place.place / "assigner.npz"

        def compute() -> None:
            found = discover_mechanisms(
                acts,
                crit,
                **chosen,
                groups=beside.groups,
                n_jobs=self.settings.n_jobs,
                progress=self.progress,
            )
            self.place.unfinish()
            write_arrays(path, found.to_arrays())

        key = {**chosen, **beside.groups_key}
        self.stage("mechanisms", CRITICAL, key, (path.name,), compute)
        return Mechanisms.from_arrays(read_arrays(path))

    def tables(self, acts: Activations, mech: Mechanisms) -> None:
        tables = ("mechanisms", "signature", "samples", "choice", "tree")

        def compute() -> None:
            for table, frame in mechanism_tables(mech).items():
                self.place.write_table(table, frame)
            self.place.write_table("samples", sample_table(acts, mech))

        files = tuple(f"{table}.parquet" for table in tables)
        self.stage("tables", "mechanisms", {}, files, compute)

    def ablation(self, acts: Activations, crit: Critical) -> None:
        settings = self.settings
        chosen = {
            "modes": settings.ablation_modes,
            "samples": settings.ablation_samples,
            "seed": settings.seed,
        }
        cuts = [
            (layer, mode, keep)
            for layer in crit.layers
            for mode in settings.ablation_modes
            for keep in (False, True)
        ]

        def compute() -> None:
            frames = []
            self.told("ablation", 0, len(cuts))
            for number, (layer, mode, keep) in enumerate(cuts):
                key = digest(self.keys["ablation"], layer, mode, keep)
                arrays = self.checkpoints.recall(
                    key,
                    lambda cut=(layer, mode, keep): self._cut(acts, crit, *cut),  # type: ignore[misc]
                )
                frames.append(pd.DataFrame(arrays).assign(layer=layer, mode=mode, keep=keep))
                self.told("ablation", number + 1, len(cuts))
            self.place.write_table("ablation", _ablation_table(frames))

        self.stage("ablation", CRITICAL, chosen, ("ablation.parquet",), compute)

    def _cut(
        self, acts: Activations, crit: Critical, layer: str, mode: str, keep: bool
    ) -> dict[str, np.ndarray]:
        curves = ablate(
            self.model,
            self.data,
            acts,
            crit,
            layer=layer,
            mode=mode,
            keep=keep,
            samples=self.settings.ablation_samples,
            device=self.settings.device,
            seed=self.settings.seed,
        )
        return {c: _plain(curves.table[c]) for c in curves.table.columns}

    def pictures(self, mech: Mechanisms) -> None:
        def compute() -> None:
            write_pictures(
                self.place.place / "thumbnails",
                self.batches,
                mech,
                self.settings.pictures,
                self.progress,
            )

        chosen = {"pictures": self.settings.pictures}
        self.stage("pictures", "mechanisms", chosen, ("thumbnails",), compute)


def _plain(column: pd.Series[Any]) -> np.ndarray:
    values = column.to_numpy()
    return values.astype(np.str_) if values.dtype.hasobject or values.dtype.kind == "T" else values


def _ablation_table(frames: list[pd.DataFrame]) -> pd.DataFrame:
    first = ["layer", "mode", "keep"]
    if not frames:
        columns = [*first, "order", "repeat", "k", "share", "unchanged", "probability"]
        return pd.DataFrame({column: [] for column in columns})
    table = pd.concat(frames, ignore_index=True)
    return table[first + [c for c in table.columns if c not in first]]


def _mechanisms_entry(mech: Mechanisms, known: Sequence[int] | None) -> dict[str, Any]:
    scores = None
    if known is not None:
        scores = asdict(agreement(mech.labels, np.asarray(known)[mech.samples]))
    return {
        "n": mech.n_mechanisms,
        "stability": float(np.mean(mech.stability)) if mech.n_mechanisms else None,
        "message": mech.message,
        "layers": list(mech.layers),
        "used": {layer: mech.settings["used"][layer] for layer in mech.layers},
        "method": mech.method,
        "agreement": scores,
    }


def _provenance(
    model: nn.Module, acts: Activations, target: Target, settings: StudySettings
) -> dict[str, Any]:
    packages = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "zarr")
    labelled = acts.labels is not None
    return {
        "neucept": version("neucept"),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        "machine": f"{platform.system()} {platform.machine()}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "n_samples": acts.n_samples,
        "n_predicted": int(np.sum(acts.predictions == predicted_as(target))),
        "accuracy": float(np.mean(acts.predictions == acts.labels)) if labelled else None,
        "settings": {
            k: list(v) if isinstance(v, tuple) else v for k, v in asdict(settings).items()
        },
        "model": {
            "name": type(model).__name__,
            "parameters": sum(p.numel() for p in model.parameters()),
            "training": bool(model.training),
            "device": str(next(iter(model.parameters()), torch.zeros(0)).device),
        },
    }
