"""What a study refuses before anything long begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int

from neucept.activations import Activations, Target, predicted_as
from neucept.errors import DataError, SettingsError

FEWEST_SAMPLES = 30
"""Predicted samples of the class without which mechanisms mean nothing."""


def check_readable(data: object) -> None:
    """Refuse data that is gone once it was read.

    Raises:
        DataError: as said.
    """
    if isinstance(data, Iterator):
        raise DataError(
            f"The data is a {type(data).__name__}, which can be read only once; a study reads it "
            "again for every stage. Pass a Dataset, a DataLoader, a tensor or a list of batches."
        )


def check_samples(
    acts: Activations,
    target: Target,
    classes: Sequence[str] | None = None,
    known: Sequence[int] | None = None,
    *,
    whole: bool = True,
) -> None:
    """Refuse what later stages could not use.

    Args:
        acts: What was recorded.
        target: Index of the class studied, at least 0; two for a contrast.
        classes: Names of the classes.
        known: Sub-classes known from elsewhere.
        whole: Whether these are all samples, so that it can be told if too few are of the class.

    Raises:
        DataError: a label is no class, `known` has another length, or hardly a sample is
            predicted as the class.
        SettingsError: the network has no such class, or another number of classes than names.
    """
    if known is not None and len(known) != acts.n_samples:
        raise DataError(
            f"known has {len(known)} entries for {acts.n_samples} samples. Pass one for each."
        )
    width = acts.n_classes
    for one in target if isinstance(target, tuple) else (target,):
        if one >= width:
            raise SettingsError(
                f"target is {one}, but the network has {width} classes. Pass 0 to {width - 1}."
            )
    if classes is not None and len(classes) != width:
        raise SettingsError(
            f"{len(classes)} class names were given for {width} classes. Pass one for each, in "
            "the order of the network's outputs."
        )
    if acts.labels is not None:
        _check_labels(acts.labels, acts.ids, width)
    if whole:
        check_predicted(
            np.bincount(acts.predictions, minlength=width), predicted_as(target), classes
        )


def _check_labels(labels: Int[np.ndarray, " samples"], ids: Sequence[str], width: int) -> None:
    # Beyond the classes no prediction could ever be right, and -1 stands for "no label" in tables.
    wrong = np.flatnonzero((labels < 0) | (labels >= width))
    if len(wrong):
        raise DataError(
            f"Sample '{ids[wrong[0]]}' has label {labels[wrong[0]]}; the network has classes 0 to "
            f"{width - 1}. Number the labels as the network's outputs, or give no labels."
        )


def check_predicted(
    counts: Int[np.ndarray, " classes"], target: int, classes: Sequence[str] | None
) -> None:
    """Refuse a class that hardly a sample is predicted as.

    Args:
        counts: Samples predicted as each class.
        target: Index of the class studied.
        classes: Names of the classes.

    Raises:
        DataError: as said.
    """
    if counts[target] >= FEWEST_SAMPLES:
        return

    def called(index: int) -> str:
        return f"class {index}" if classes is None else f"'{classes[index]}'"

    often = [int(index) for index in np.argsort(-counts)[:3] if counts[index]]
    raise DataError(
        f"{counts[target]} of {counts.sum()} samples are predicted as {called(target)}; a study "
        f"needs at least {FEWEST_SAMPLES}. Most are predicted as "
        f"{', '.join(f'{called(index)} ({counts[index]})' for index in often)}. "
        "Give more samples, or another class."
    )
