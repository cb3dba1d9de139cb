"""From the activations of any sample to its mechanism, and how typical it is of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from neucept.activations import Activations
from neucept.mechanisms.features import Projection, dimensions_for
from neucept.mechanisms.mixture import Ascent, Mixture, spheres
from neucept.mechanisms.together import deal
from neucept.runtime import digest, generator

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
        typicality: Smoothed conformal p-value in (0, 1): the share of the mechanism's own samples
            that lie farther from its centre, ties broken at random. Small values mark samples
            unlike any it was found in.
    """

    labels: Int[np.ndarray, " samples"]
    membership: Float[np.ndarray, "samples mechanisms"] = field(repr=False)
    typicality: Float[np.ndarray, " samples"] = field(repr=False)


@dataclass(frozen=True)
class Fitted:
    """Groups, and the space they were fitted in."""

    projection: Projection
    mixture: Mixture

    def nearest(
        self, values: Float[np.ndarray, "samples neurons"]
    ) -> tuple[Int[np.ndarray, " samples"], Float[np.ndarray, " samples"]]:
        """The most probable group of each sample, and the squared distance to its centre."""
        x = self.projection.apply(values)
        labels = self.mixture.labels(x)
        return labels, self.mixture.distances(x)[np.arange(len(x)), labels]


@dataclass(frozen=True)
class Assigner:
    """Everything that assigning a new sample needs, as plain arrays.

    Attributes:
        whole: Groups fitted to all samples.
        parts: Groups fitted to all samples but one fold's.
        fold: The fold of each sample.
        labels: The mechanism of each sample, by the groups that were fitted without its fold. Its
            label by all samples, itself among them, would be less like that of a new one.
        scores: Its distance to the centre of that mechanism, by the same groups.
        together: Which samples belong together; they share a fold, and count as one.
        seed: Breaks ties.
    """

    whole: Fitted
    parts: tuple[Fitted, ...]
    fold: Int[np.ndarray, " samples"]
    labels: Int[np.ndarray, " samples"]
    scores: Float[np.ndarray, " samples"]
    together: Int[np.ndarray, " samples"]
    seed: int

    def assign(self, acts: Activations) -> Assignment:
        """The mechanism, membership and typicality of every sample.

        What breaks ties is drawn from the seed and the sample's own activations, so a sample has
        the same typicality whatever others are assigned with it.

        Raises:
            ModelError: a layer is missing or has too few neurons.
            DataError: an activation is NaN or infinite.
        """
        values = self.whole.projection.read(acts)
        membership = self.whole.mixture.membership(self.whole.projection.apply(values))
        labels = membership.argmax(axis=1)
        weight, groups = self._weights(), self.whole.mixture.groups
        beyond, level, total = np.zeros((3, len(values)))
        for fold, part in enumerate(self.parts):
            found, scores = part.nearest(values)
            for group in range(groups):
                known = (self.fold == fold) & (self.labels == group)
                rows = found == group
                more, same = _heavier(self.scores[known], weight[known], scores[rows])
                beyond[rows] += more
                level[rows] += same
                total[rows] += weight[known].sum()
        draw = np.array([_uniform(self.seed, row) for row in values])
        return Assignment(labels, membership, (beyond + draw * (1 + level)) / (1 + total))

    def own_typicality(self) -> Float[np.ndarray, " samples"]:
        """Typicality of the samples that the mechanisms were found in, each beside the others."""
        draw = generator(self.seed, "mechanisms", "ties").random(len(self.scores))
        weight, typicality = self._weights(), np.empty(len(self.scores))
        for group in np.unique(self.labels):
            rows = np.flatnonzero(self.labels == group)
            scores, own, counted = self.scores[rows], self.together[rows], weight[rows]
            beyond, level = _heavier(scores, counted, scores)
            ends = np.cumsum(np.unique(own, return_counts=True)[1])[:-1]
            for inside in np.split(np.argsort(own, kind="stable"), ends):
                more, same = _heavier(scores[inside], counted[inside], scores[inside])
                beyond[inside] -= more
                level[inside] -= same
            others = counted.sum() - 1
            typicality[rows] = (beyond + draw[rows] * (1 + level)) / (1 + others)
        return np.clip(typicality, 0.0, 1.0)

    def _weights(self) -> np.ndarray:
        """What each sample counts: those that belong together, in one mechanism, count as one."""
        pairs = np.stack([self.labels, self.together], axis=1)
        _, place, sizes = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
        return np.asarray(1.0 / sizes[place.reshape(-1)])

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
            "assigner.together": self.together,
            "assigner.seed": np.array(self.seed),
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
        """The assigner that `to_arrays` took apart; in older ones each sample stands alone."""
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
            together=arrays.get("assigner.together", np.arange(len(arrays["assigner.fold"]))),
            seed=int(arrays.get("assigner.seed", np.array(0))),
        )


def _heavier(known: np.ndarray, weight: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, ...]:
    """For each score, the weight of the known ones above it, and of those equal to it."""
    order = np.argsort(known, kind="stable")
    reach = np.concatenate([[0.0], np.cumsum(weight[order])])
    below = reach[np.searchsorted(known[order], scores, side="left")]
    upto = reach[np.searchsorted(known[order], scores, side="right")]
    return reach[-1] - upto, upto - below


def _uniform(seed: int, values: np.ndarray) -> float:
    """A number in (0, 1) that looks random and depends on the seed and these values alone."""
    return (int(digest(seed, values)[:13], 16) + 0.5) / 16**13


def fit_assigner(
    whole: Fitted,
    values: Float[np.ndarray, "samples neurons"],
    method: str,
    seed: int,
    together: Int[np.ndarray, " samples"] | None = None,
) -> Assigner:
    """Fit the groups again without each fold, to judge that fold's samples.

    Args:
        whole: Groups fitted to all samples.
        values: Their activations.
        method: How the groups were fitted.
        seed: Deals the samples into folds, and breaks ties.
        together: Which samples belong together; None where each stands alone.

    Returns:
        What assigns new samples.

    Source: Vovk (2015), "Cross-conformal predictors"; Vovk, Gammerman, Shafer (2005) for smoothing.
    """
    samples = len(values)
    membership = whole.mixture.membership(whole.projection.apply(values))
    labels = membership.argmax(axis=1)
    rng = generator(seed, "mechanisms", "folds")
    fold = np.empty(samples, dtype=np.int64)
    if together is None:
        fold[rng.permutation(samples)] = np.arange(samples) % FOLDS
        together = np.arange(samples)
    else:
        fold = deal(together, FOLDS, rng)
    found, scores = np.empty(samples, dtype=np.int64), np.empty(samples)
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
        found[inside], scores[inside] = parts[-1].nearest(values[inside])
    return Assigner(whole, tuple(parts), fold, found, scores, together, seed)
