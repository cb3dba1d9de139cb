"""The samples that are to be explained: recorded by the study, or seen by its network anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import nn

from neucept.activations import Activations, Batches, capture
from neucept.errors import DataError, ModelError, SettingsError, StudyError, near_names
from neucept.runtime import Progress, is_whole
from neucept.study.folder import Study
from neucept.study.identity import network_digest


@dataclass(frozen=True)
class Seen:
    """Some samples and what the network gave for them.

    Attributes:
        acts: Activations of the layers that were asked for.
        positions: Where each sample stands in its data, increasing.
        ids: What each is called there.
        recorded: Whether they are samples of the study itself.
    """

    acts: Activations = field(repr=False)
    positions: Int[np.ndarray, " samples"] = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    recorded: bool


def recorded(
    known: Activations, layers: Sequence[str], samples: Sequence[int | str] | None
) -> Seen:
    """Samples that the study recorded; neither the network nor the data is needed.

    Raises:
        DataError: there is no such sample.
        SettingsError: none was named, or by something else than a position or an id.
    """
    if samples is None:
        return Seen(known, np.arange(known.n_samples), known.ids, recorded=True)
    rows = positions_of(samples, known.ids)
    ids = tuple(known.ids[row] for row in rows)
    acts = Activations.from_arrays(
        {layer: known.matrix(layer, rows) for layer in layers},
        known.outputs[rows],
        None if known.labels is None else known.labels[rows],
    )
    return Seen(acts, rows, ids, recorded=True)


def capture_new(
    study: Study,
    model: nn.Module | None,
    data: Any,
    samples: Sequence[int | str] | None,
    layers: Sequence[str],
    batch_size: int,
    device: str,
    progress: Progress | None,
) -> Seen:
    """Run the study's network on samples and record them as the study did.

    Raises:
        ModelError: there is no network, or it cannot be run.
        StudyError: it is another network than the study's.
        DataError: the samples cannot be used, or there is no such sample.
        SettingsError: none was named, or by something else than a position or an id.
    """
    network = _checked_network(study, model)
    chosen = _chosen(data, samples, batch_size)
    source = data if chosen is None else chosen[0]
    acts = capture(
        network,
        source,
        layers,
        pool=study.info["settings"].get("pool", "mean"),
        batch_size=batch_size,
        device=device,
        progress=progress,
    )
    if chosen is None:
        return Seen(acts, np.arange(acts.n_samples), acts.ids, recorded=False)
    return Seen(acts, chosen[1], chosen[2], recorded=False)


def _checked_network(study: Study, model: object) -> nn.Module:
    if model is None:
        raise ModelError(
            "New samples came without a network. Pass the one that the study was made of."
        )
    if not isinstance(model, nn.Module):
        raise ModelError(f"The model is a {type(model).__name__}. Pass a torch.nn.Module.")
    if network_digest(model) != study.info["identity"].get("network"):
        raise StudyError(
            f"The study in '{study.path}' is of another network than this "
            f"{type(model).__name__}: structure or weights differ. Pass the network that was "
            "studied, or study this one."
        )
    return model


def _chosen(
    data: Any, samples: Sequence[int | str] | None, batch_size: int
) -> tuple[list[Any], Int[np.ndarray, " samples"], tuple[str, ...]] | None:
    """Batches of the named samples, their positions and ids; None for all samples."""
    if samples is None:
        return None
    batches = Batches(data, batch_size)
    named = any(isinstance(sample, str) for sample in samples)
    ids = tuple(name for batch in batches for name in batch.ids) if named else None
    taken = list(batches.take(positions_of(samples, ids)))
    raw = [
        batch.inputs if batch.labels is None else (batch.inputs, batch.labels) for batch in taken
    ]
    positions = np.concatenate([batch.positions for batch in taken])
    return raw, positions, tuple(name for batch in taken for name in batch.ids)


def positions_of(
    samples: Sequence[int | str], ids: Sequence[str] | None
) -> Int[np.ndarray, " positions"]:
    """The positions of samples that are named by position or id.

    Args:
        samples: Whole numbers are positions; text is an id, or the position that it spells where
            no sample is called so.
        ids: What the samples are called; None where only positions are asked for.

    Returns:
        Positions, increasing, each once; all that share an id.

    Raises:
        DataError: there is no such sample.
        SettingsError: none was named, or by something else than a position or an id.
    """
    if not len(samples):
        raise SettingsError("No sample is named. Pass positions or ids, or None for all.")
    places: dict[str, list[int]] = {}
    for place, name in enumerate(ids or ()):
        places.setdefault(name, []).append(place)
    found: set[int] = set()
    for sample in samples:
        called = places.get(sample) if isinstance(sample, str) else None
        found.update(called or [_position(sample, ids)])
    return np.array(sorted(found), dtype=np.int64)


def _position(sample: object, ids: Sequence[str] | None) -> int:
    if isinstance(sample, str) and not (sample.isascii() and sample.isdigit()):
        raise DataError(f"There is no sample called '{sample}'. {near_names(sample, ids or ())}")
    if not isinstance(sample, str) and not is_whole(sample):
        kind = type(sample).__name__
        raise SettingsError(f"A sample is named by a {kind}. Pass positions or ids.")
    position = int(sample)
    if position < 0 or (ids is not None and position >= len(ids)):
        most = "" if ids is None else f" to {len(ids) - 1}"
        raise DataError(f"There is no sample {sample}. Positions run from 0{most}.")
    return position
