"""The verb: which mechanism is behind each prediction, how typical of it, and what decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.special import expit
from torch import nn

from neucept.activations import Activations, class_score, meaning_of, predictions_of
from neucept.errors import DataError, SettingsError, StudyError
from neucept.mechanisms import Mechanisms
from neucept.mechanisms.assigner import Assigner
from neucept.mechanisms.deciding import Decision, decide, separations, spread_of
from neucept.runtime import Progress, is_real, is_whole
from neucept.study.folder import Study
from neucept.study.seen import Seen, capture_new, recorded

LEVEL = 0.05
"""Typicality at or under which a sample is called atypical."""

MOST_NEURONS = 10
"""Neurons told for each sample."""

NEAREST = 3
"""Prototypes told for each sample."""

SAME = 1e-3
"""How near activations of one sample, recorded twice, lie to each other, as a share."""


@dataclass(frozen=True)
class Explanation:
    """What is behind the predictions of some samples.

    Attributes:
        target: Index of the class that was studied.
        layers: The layers whose neurons the mechanisms were found in.
        level: Typicality at or under which a sample is atypical.
        table: One row per sample: position, id, prediction, label (-1 when not known), confidence
            (probability of the predicted class), of_class (whether it is predicted as the class
            studied; a mechanism means little where it is not), mechanism, membership, next (the
            next best mechanism, -1 when there is one only), log_ratio (log of membership in the
            two, nats), start (what their sizes and tightness say of it), typicality (conformal
            p-value), atypical (do not rely on such a prediction), distance (squared, to the
            mechanism's centre), own (a sample the mechanisms were found in; its typicality is
            cross-fitted).
        neurons: One row per sample and neuron that decided, most telling first: position, id,
            layer, neuron, value, usual and usual_next (medians of its mechanism and of the next
            best), nats (its share of `log_ratio`; with all neurons told, shares and `start` add
            up to it), distance (its part of the squared distance: what makes a sample unusual).
        prototypes: One row per sample and near prototype of its mechanism, nearest first:
            position, id, rank, prototype and prototype_id (of the study's samples), distance.
        recorded: Whether positions and ids are those of the study's own data.
    """

    target: int
    layers: tuple[str, ...]
    level: float
    table: pd.DataFrame = field(repr=False)
    neurons: pd.DataFrame = field(repr=False)
    prototypes: pd.DataFrame = field(repr=False)
    recorded: bool = True

    def to_frame(self) -> pd.DataFrame:
        """The table of samples; a copy."""
        return self.table.copy()


def explain(
    study: Study,
    model: nn.Module | None = None,
    new_samples: Any = None,
    *,
    samples: Sequence[int | str] | None = None,
    level: float = LEVEL,
    most: int | None = MOST_NEURONS,
    batch_size: int = 256,
    device: str = "auto",
    progress: Progress | None = None,
) -> Explanation:
    """Tell which mechanism is behind each prediction, how typical it is, and what decided.

    Args:
        study: A finished study.
        model: The network that the study was made of; not needed for the study's own samples.
        new_samples: A Dataset, DataLoader, tensor or iterable of batches, of inputs or (input,
            label); None for the samples that the study recorded.
        samples: Which of them: positions as whole numbers, or ids as text (text of digits is a
            position where no sample is called so); None for all.
        level: Typicality at or under which a sample is atypical, in (0, 1).
        most: Neurons told for each sample, at least 1; None for all.
        batch_size: Samples per forward pass.
        device: "auto", "cpu", "cuda" or "cuda:N".
        progress: Called as ``progress("capture", done, total)``.

    Returns:
        The explanation, in order of position.

    Raises:
        StudyError: the study is of another network, or incomplete.
        ModelError: new samples came without the network, or it cannot be run.
        DataError: there are no mechanisms, no such sample, or samples that cannot be used.
        SettingsError: a setting is outside its range.
        StorageError: the study's activations are gone.
    """
    _check(study, samples, level, most)
    mech = Mechanisms.load(study.path / "assigner.npz")
    if mech.assigner is None:
        raise DataError(f"The study in '{study.path}' has no mechanisms. {mech.message}")
    known = Activations.open(study.path / "activations.zarr")
    if new_samples is None:
        seen = recorded(known, mech.layers, samples)
    else:
        seen = capture_new(
            study, model, new_samples, samples, mech.layers, batch_size, device, progress
        )
    return _explained(study, mech, mech.assigner, known, seen, float(level), most)


def _check(study: object, samples: object, level: object, most: object) -> None:
    if not isinstance(study, Study):
        raise StudyError(f"The study is a {type(study).__name__}. Open it first: Study.open(path).")
    if isinstance(samples, str | int):
        raise SettingsError(f"samples is {samples!r}. Pass a list of positions or ids.")
    if not is_real(level) or not 0 < level < 1:
        raise SettingsError(f"level is {level!r}. Pass a number between 0 and 1.")
    if most is not None and (not is_whole(most) or most < 1):
        raise SettingsError(f"most is {most!r}. Pass a whole number of at least 1, or None.")


def _explained(
    study: Study,
    mech: Mechanisms,
    assigner: Assigner,
    known: Activations,
    seen: Seen,
    level: float,
    most: int | None,
) -> Explanation:
    projection = assigner.whole.projection
    values, found_in = projection.read(seen.acts), projection.read(known, mech.samples)
    decision = decide(assigner, spread_of(projection, found_in), values)
    assigned = mech.assign(seen.acts)
    own = _own(mech, known, seen, values, found_in)
    typicality = np.where(own < 0, assigned.typicality, mech.typicality[own])
    meaning = meaning_of(known.outputs)
    outputs = seen.acts.outputs
    predictions = predictions_of(outputs, meaning)
    table = pd.DataFrame(
        {
            "position": seen.positions,
            "id": list(seen.ids),
            "prediction": predictions,
            "label": np.full(len(outputs), -1) if seen.acts.labels is None else seen.acts.labels,
            "confidence": _confidence(outputs, predictions, meaning),
            "of_class": predictions == mech.target,
            "mechanism": decision.labels,
            "membership": assigned.membership[np.arange(len(outputs)), decision.labels],
            "next": decision.rivals,
            "log_ratio": decision.log_ratio,
            "start": decision.start,
            "typicality": typicality,
            "atypical": typicality <= level,
            "distance": decision.distances,
            "own": own >= 0,
        }
    )
    return Explanation(
        target=mech.target,
        layers=mech.layers,
        level=level,
        table=table,
        neurons=_neurons(study, assigner, seen, values, decision, most),
        prototypes=_prototypes(mech, assigner, known, seen, values, found_in, decision.labels, own),
        recorded=seen.recorded,
    )


def _own(
    mech: Mechanisms, known: Activations, seen: Seen, values: np.ndarray, found_in: np.ndarray
) -> Int[np.ndarray, " samples"]:
    """Where each sample stands among those the mechanisms were found in; -1 for others.

    New samples may go by the same names, so their activations must be the same too.
    """
    positions = seen.positions if seen.recorded else _namesakes(known.ids, seen)
    rows = np.minimum(np.searchsorted(mech.samples, positions), len(mech.samples) - 1)
    size = np.abs(found_in).max(axis=0, initial=0.0)
    same = (np.abs(values - found_in[rows]) <= SAME * size).all(axis=1)
    return np.where((mech.samples[rows] == positions) & same, rows, -1)


def _namesakes(ids: Sequence[str], seen: Seen) -> Int[np.ndarray, " samples"]:
    """Where the study has a sample of the same name, at the same position if it can be; else -1."""
    places = {name: place for place, name in enumerate(ids)}
    found = [
        at if at < len(ids) and ids[at] == name else places.get(name, -1)
        for at, name in zip(seen.positions.tolist(), seen.ids, strict=True)
    ]
    return np.array(found, dtype=np.int64)


def _confidence(
    outputs: Float[np.ndarray, "samples columns"],
    predictions: Int[np.ndarray, " samples"],
    meaning: Any,
) -> Float[np.ndarray, " samples"]:
    """Probability of the predicted class."""
    confidence = np.empty(len(predictions))
    for predicted in np.unique(predictions):
        rows = predictions == predicted
        score = class_score(outputs[rows], int(predicted), meaning=meaning)
        confidence[rows] = expit(score)
    return confidence


def _neurons(
    study: Study,
    assigner: Assigner,
    seen: Seen,
    values: np.ndarray,
    decision: Decision,
    most: int | None,
) -> pd.DataFrame:
    projection = assigner.whole.projection
    layers = np.repeat(projection.layers, [len(n) for n in projection.neurons])
    neurons = np.concatenate(projection.neurons)
    medians = _medians(study, layers, neurons, assigner.whole.mixture.groups)
    lone = decision.rivals < 0
    telling = np.where(lone[:, None], decision.parts, decision.shares)
    order = np.argsort(-telling, axis=1, kind="stable")[:, :most]
    rows, columns = np.repeat(np.arange(len(values)), order.shape[1]), order.reshape(-1)
    usual_next = medians[decision.rivals[rows], columns]
    return pd.DataFrame(
        {
            "position": seen.positions[rows],
            "id": np.asarray(seen.ids, dtype=object)[rows],
            "layer": layers[columns].astype(object),
            "neuron": neurons[columns],
            "value": values[rows, columns],
            "usual": medians[decision.labels[rows], columns],
            "usual_next": np.where(lone[rows], np.nan, usual_next),
            "nats": decision.shares[rows, columns],
            "distance": decision.parts[rows, columns],
        }
    )


def _medians(
    study: Study, layers: np.ndarray, neurons: np.ndarray, groups: int
) -> Float[np.ndarray, "groups neurons"]:
    """What is usual for each neuron in each mechanism; NaN where the study does not say."""
    told = study.signature
    keys = zip(told["mechanism"], told["layer"], told["neuron"], strict=True)
    known = dict(zip(keys, told["median"], strict=True))
    rows = [
        [known.get((g, str(a), int(n)), np.nan) for a, n in zip(layers, neurons, strict=True)]
        for g in range(groups)
    ]
    return np.array(rows, dtype=float)


def _prototypes(
    mech: Mechanisms,
    assigner: Assigner,
    known: Activations,
    seen: Seen,
    values: np.ndarray,
    found_in: np.ndarray,
    labels: Int[np.ndarray, " samples"],
    own: Int[np.ndarray, " samples"],
) -> pd.DataFrame:
    """The prototypes of its mechanism that are nearest to each sample, itself left out."""
    fitted = assigner.whole
    x = fitted.projection.apply(values)
    frames: list[pd.DataFrame] = []
    for group in np.unique(labels):
        positions = np.asarray(mech.prototypes[group], dtype=np.int64)
        rows = np.flatnonzero(labels == group)
        places = np.searchsorted(mech.samples, positions)
        others = fitted.projection.apply(found_in[places])
        apart = separations(fitted.mixture, x[rows], others, int(group))
        apart[own[rows][:, None] == places] = np.inf
        order = np.argsort(apart, axis=1, kind="stable")[:, :NEAREST]
        near = np.take_along_axis(apart, order, axis=1)
        each = np.repeat(rows, order.shape[1])
        frame = pd.DataFrame(
            {
                "position": seen.positions[each],
                "id": np.asarray(seen.ids, dtype=object)[each],
                "rank": np.tile(np.arange(1, order.shape[1] + 1), len(rows)),
                "prototype": positions[order].reshape(-1),
                "prototype_id": [known.ids[i] for i in positions[order].reshape(-1)],
                "distance": near.reshape(-1),
            }
        )
        frames.append(frame.loc[np.isfinite(near.reshape(-1))])
    return pd.concat(frames).sort_values(["position", "rank"], ignore_index=True)
