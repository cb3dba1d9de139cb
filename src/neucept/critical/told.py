"""What each step of a chain keeps: of all that a layer tells about its targets, with an error.

Networks (or trees, where these tell more of the whole layer) are trained anew on the whole layer,
on the critical neurons and on the core, and judged on the same rows, which they have not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from neucept.activations import Activations
from neucept.critical.chain import rows_of
from neucept.critical.core import checked, described, standard
from neucept.critical.layer import first_of_each
from neucept.critical.networks import Folds
from neucept.critical.record import CLASS_SCORE, Critical
from neucept.critical.trees import MOST_TARGETS, guesses_of_trees
from neucept.errors import DataError
from neucept.runtime import Progress, derived_seed, run_tasks

COLUMNS = (
    "layer",
    "set",
    "size",
    "kept",
    "kept_error",
    "explained",
    "information",
    "information_error",
    "dither",
    "judge",
    "rows",
)

_LEAST_VARIANCE = 1e-12
"""Under this a target counts as told to the last digit; its standardised variance is 1."""


def chain_information(
    acts: Activations,
    crit: Critical,
    *,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """How much of what a whole layer tells about its targets the selected and the core keep.

    The targets are those of the search: the class score, or the critical neurons of the layer
    above, each with the noise that was added to it for the selection (the dither, which enters
    by its variance). Predictors are trained and judged on the rows that the layer was tested on,
    each on rows that it has not seen. The sets were chosen on these rows too, so the shares of
    small samples are a little high.

    Args:
        acts: The activations that were searched.
        crit: What was found.
        n_jobs: Workers; None for one per core.
        progress: Called as ``progress("chain information", done, total)``.

    Returns:
        One row per layer, in order of execution, and set: layer, set ("all", "selected" or
        "core"), size (neurons in it), kept (share of what the whole layer explains; it may pass
        1 by chance, and is NaN where the layer explains nothing) and kept_error; explained (share
        of the dithered targets' variance); information (what that is worth about a Gaussian
        target, in nats, mean over targets) and information_error; dither (in standard deviations
        of a target); judge ("networks" or "trees"); rows (on which it was judged). Errors are
        standard errors over these rows. There is no core where the search was told to find none.

    Raises:
        DataError: a layer has too few samples, or none of its targets varies; names the layer.

    Source: the objective of Vu, Nguyen, Thai (2022), section 3, at each of its steps.
    """
    jobs = [(acts, crit, layer) for layer in crit.layers]
    tables = run_tasks(_layer, jobs, n_jobs=n_jobs, progress=progress, stage="chain information")
    return pd.DataFrame([row for table in tables for row in table], columns=list(COLUMNS))


def _layer(acts: Activations, crit: Critical, layer: str) -> list[dict[str, object]]:
    rows = rows_of(acts, crit, layer)
    x = acts.matrix(layer, rows=rows).astype(np.float64)
    sets = {"all": np.arange(x.shape[1]), "selected": crit.neurons(layer)}
    if crit.search.keep:
        sets["core"] = crit.core(layer, crit.search.keep)
    dither = float(crit.settings[layer].get("dither", 0.0))
    seed = derived_seed(crit.search.seed, "chain information", layer)
    try:
        judged, errors, judge = _judged(x, _targets(acts, crit, layer)[rows], sets, seed)
    except DataError as error:
        raise DataError(f"Layer '{layer}': {error}") from error
    whole = _Told(judged, errors["all"], dither)
    table: list[dict[str, object]] = []
    for name, neurons in sets.items():
        told = _Told(judged, errors[name], dither)
        about: dict[str, object] = {"layer": layer, "set": name, "size": len(neurons)}
        about |= dict(zip(("kept", "kept_error"), told.share_of(whole), strict=True))
        about["explained"] = told.explained
        about |= dict(zip(("information", "information_error"), told.nats, strict=True))
        table.append(about | {"dither": dither, "judge": judge, "rows": len(judged)})
    return table


def _targets(acts: Activations, crit: Critical, layer: str) -> Float[np.ndarray, "samples targets"]:
    """What the search asked a layer about."""
    above = crit.settings[layer].get("target_layer", CLASS_SCORE)
    if above == CLASS_SCORE:
        return acts.class_score(crit.target, crit.search.scale)[:, None]
    neurons = first_of_each(crit.neurons(above), crit.settings[above].get("groups", ()))
    return acts.matrix(above)[:, list(neurons)].astype(np.float64)


def _judged(
    x: Float[np.ndarray, "samples neurons"],
    y: Float[np.ndarray, "samples targets"],
    sets: dict[str, Int[np.ndarray, " some"]],
    seed: int,
) -> tuple[
    Float[np.ndarray, "judged targets"], dict[str, Float[np.ndarray, "judged targets"]], str
]:
    """The targets on the judged rows, the errors of what sees each set only, and who judges."""
    checked(x, y, sets["selected"])
    inputs, moving = described(x)
    wanted = standard(y)
    folds = Folds(len(x), seed)

    def by_networks(neurons: np.ndarray) -> np.ndarray:
        guesses = folds.guesses(inputs[:, neurons].reshape(len(x), -1), wanted)
        return np.asarray(wanted - guesses)

    def by_trees(neurons: np.ndarray) -> np.ndarray:
        judged, guesses = guesses_of_trees(x[:, neurons], wanted, folds.parts)
        return np.asarray(wanted[judged] - guesses)

    judge, judged, left = "networks", np.arange(len(x)), by_networks
    whole = by_networks(moving)
    if moving.size and wanted.shape[1] <= MOST_TARGETS:
        rows, guesses = guesses_of_trees(x[:, moving], wanted, folds.parts)
        seen = wanted[rows] - guesses
        if np.mean(seen**2) < np.mean(whole[rows] ** 2):
            judge, judged, left, whole = "trees", rows, by_trees, seen
    errors = {"all": whole}
    for name, chosen in sets.items():
        neurons = np.sort(chosen[np.isin(chosen, moving)])
        if np.array_equal(neurons, moving):
            errors[name] = whole
        elif name not in errors:
            errors[name] = left(neurons) if len(neurons) else wanted[judged]
    return wanted[judged], errors, judge


@dataclass(frozen=True)
class _Told:
    """What a predictor tells of targets with variance 1 that carry a dither.

    Attributes:
        targets: Without the dither.
        errors: What the predictor leaves of them.
        dither: Standard deviation of the noise.
    """

    targets: Float[np.ndarray, "rows targets"]
    errors: Float[np.ndarray, "rows targets"]
    dither: float

    @property
    def gains(self) -> Float[np.ndarray, " rows"]:
        """Variance explained of an undithered target, row by row."""
        return np.asarray((self.targets**2 - self.errors**2).mean(1))

    @property
    def explained(self) -> float:
        """Share of the dithered targets' variance, of which the noise cannot be told."""
        return float(self.gains.mean() / ((self.targets**2).mean() + self.dither**2))

    def share_of(self, whole: _Told) -> tuple[float, float]:
        """Of what another predictor explains, this one's share, and its standard error."""
        known = whole.gains.mean()
        if known <= 0:
            return float("nan"), float("nan")
        share = self.gains.mean() / known
        # Both are judged on the same rows, so what they share cancels.
        apart = (self.gains - share * whole.gains) / known
        return float(share), float(apart.std(ddof=1) / np.sqrt(len(apart)))

    @property
    def nats(self) -> tuple[float, float]:
        """Half the log of how much the variance shrinks, mean over targets, and its error."""
        noise = max(self.dither**2, _LEAST_VARIANCE)
        before, after = self.targets**2 + noise, self.errors**2 + noise
        figure = np.log(before.mean(0) / after.mean(0)).mean() / 2
        # The first order of the figure in each row's weight.
        each = (before / before.mean(0) - after / after.mean(0)).mean(1) / 2
        return float(figure), float(each.std(ddof=1) / np.sqrt(len(each)))
