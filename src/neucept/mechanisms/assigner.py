"""From the activations of any sample to its mechanism, and how typical it is of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from neucept.activations import Activations
from neucept.mechanisms.features import Projection, dimensions_for
from neucept.mechanisms.mixture import Ascent, Mixture, spheres
from neucept.runtime import generator

FOLDS = 5
"""Parts of the samples; each part's typicality is judged by groups fitted to the others."""

REFIT = 20
"""Steps of an ascent that starts from known groups."""


@dataclass(frozen=True)
class Assignment:
    """Samples seen through mechanisms that were found before.

    Attributes:
        labels: The most probable mechanism of each sample.
        membership: Probability of each mechanism; rows sum to 1.
        typicality: Conformal p-value in (0, 1]: the share of the mechanism's own samples that lie
            at least as far from its centre. Small values mark samples unlike any it was found in.
    """

    labels: Int[np.ndarray, " samples"]
    membership: Float[np.ndarray, "samples mechanisms"] = field(repr=False)
    typicality: Float[np.ndarray, " samples"] = field(repr=False)


@dataclass(frozen=True)
class Fitted:
    """Groups, and the space they were fitted in."""

    projection: Projection
    mixture: Mixture

    def distances(
        self, values: Float[np.ndarray, "samples neurons"]
    ) -> Float[np.ndarray, "samples groups"]:
        """Squared distance of each sample to the centre of each group, unitless."""
        return self.mixture.distances(self.projection.apply(values))


@dataclass(frozen=True)
class Assigner:
    """Everything that assigning a new sample needs, as plain arrays.

    Attributes:
        whole: Groups fitted to all samples.
        parts: Groups fitted to all samples but one fold's.
        fold: The fold of each sample.
        labels: The mechanism of each sample.
        scores: Distance of each sample to its mechanism's centre, by the groups that were fitted
            without its fold.
    """

    whole: Fitted
    parts: tuple[Fitted, ...]
    fold: Int[np.ndarray, " samples"]
    labels: Int[np.ndarray, " samples"]
    scores: Float[np.ndarray, " samples"]

    def assign(self, acts: Activations) -> Assignment:
        """The mechanism, membership and typicality of every sample.

        Raises:
            ModelError: a layer is missing or has too few neurons.
            DataError: an activation is NaN or infinite.
        """
        values = self.whole.projection.read(acts)
        membership = self.whole.mixture.membership(self.whole.projection.apply(values))
        labels = membership.argmax(axis=1)
        beyond = np.zeros(len(values))
        for fold, part in enumerate(self.parts):
            own = part.distances(values)[np.arange(len(values)), labels]
            for group in range(self.whole.mixture.groups):
                known = np.sort(self.scores[(self.fold == fold) & (self.labels == group)])
                rows = labels == group
                beyond[rows] += len(known) - np.searchsorted(known, own[rows], side="left")
        sizes = np.bincount(self.labels, minlength=membership.shape[1])
        return Assignment(labels, membership, (1 + beyond) / (1 + sizes[labels]))

    def own_typicality(self) -> Float[np.ndarray, " samples"]:
        """Typicality of the samples that the mechanisms were found in, each beside the others."""
        typicality = np.empty(len(self.scores))
        for group in range(self.whole.mixture.groups):
            rows = np.flatnonzero(self.labels == group)
            known = np.sort(self.scores[rows])
            beyond = len(known) - np.searchsorted(known, self.scores[rows], side="left")
            typicality[rows] = beyond / len(known)
        return typicality

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays, by name."""
        projection = self.whole.projection
        arrays = {
            "assigner.layers": np.array(projection.layers),
            "assigner.curves": np.array(projection.curves),
            "assigner.widths": np.array([len(n) for n in projection.neurons]),
            "assigner.neurons": np.concatenate(projection.neurons),
            "assigner.fold": self.fold,
            "assigner.labels": self.labels,
            "assigner.scores": self.scores,
        }
        for place, fitted in enumerate((self.whole, *self.parts)):
            arrays |= {
                f"assigner.{place}.centre": fitted.projection.centre,
                f"assigner.{place}.axes": fitted.projection.axes,
                f"assigner.{place}.weights": fitted.mixture.weights,
                f"assigner.{place}.means": fitted.mixture.means,
                f"assigner.{place}.whiteners": fitted.mixture.whiteners,
            }
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Assigner:
        """The assigner that `to_arrays` took apart."""
        layers = tuple(str(name) for name in arrays["assigner.layers"])
        curves = tuple(str(name) for name in arrays["assigner.curves"])
        ends = np.cumsum(arrays["assigner.widths"])[:-1]
        neurons = tuple(np.split(arrays["assigner.neurons"], ends))

        def fitted(place: int) -> Fitted:
            def part(name: str) -> np.ndarray:
                return arrays[f"assigner.{place}.{name}"]

            return Fitted(
                Projection(layers, neurons, curves, part("centre"), part("axes")),
                Mixture(part("weights"), part("means"), part("whiteners")),
            )

        return cls(
            whole=fitted(0),
            parts=tuple(fitted(place) for place in range(1, FOLDS + 1)),
            fold=arrays["assigner.fold"],
            labels=arrays["assigner.labels"],
            scores=arrays["assigner.scores"],
        )


def fit_assigner(
    whole: Fitted, values: Float[np.ndarray, "samples neurons"], method: str, seed: int
) -> Assigner:
    """Fit the groups again without each fold, to judge that fold's samples.

    Args:
        whole: Groups fitted to all samples.
        values: Their activations.
        method: How the groups were fitted.
        seed: Deals the samples into folds.

    Returns:
        What assigns new samples.

    Source: Vovk (2015), "Cross-conformal predictors".
    """
    samples = len(values)
    membership = whole.mixture.membership(whole.projection.apply(values))
    labels = membership.argmax(axis=1)
    fold = np.empty(samples, dtype=np.int64)
    fold[generator(seed, "mechanisms", "folds").permutation(samples)] = np.arange(samples) % FOLDS
    scores = np.empty(samples)
    parts = []
    for part in range(FOLDS):
        inside, rest = fold == part, fold != part
        projection = whole.projection.refitted(values[rest], dimensions_for(samples))
        reduced = projection.apply(values[rest])
        if method == "kmeans":
            mixture = spheres(reduced, labels[rest], whole.mixture.groups)
        else:
            mixture = Ascent(reduced).climb(membership[rest], REFIT)
        parts.append(Fitted(projection, mixture))
        own = parts[-1].distances(values[inside])
        scores[inside] = own[np.arange(len(own)), labels[inside]]
    return Assigner(whole, tuple(parts), fold, labels, scores)
