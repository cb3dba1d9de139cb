"""From activations and targets to a selection, once it is settled how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from neucept.errors import DataError
from neucept.knockoffs.asked import Asked, is_auto
from neucept.knockoffs.contests import Draw, Work, run_draws
from neucept.knockoffs.explain import explain, unshown
from neucept.knockoffs.filter import (
    Contest,
    e_bh,
    e_values,
    fewest,
    floored,
    internal_level,
    knockoffs_for,
)
from neucept.knockoffs.network import Network
from neucept.knockoffs.sampling import Sampler
from neucept.knockoffs.screening import LEAST_SAMPLES, as_matrix
from neucept.knockoffs.selection import Selection
from neucept.knockoffs.statistics import find_statistic
from neucept.runtime import THREADS_PER_TASK, Progress

DEFAULT_DRAWS = 20
NETWORK_DRAWS = 4
MOST_ROWS = 10_000


def run_selection(
    x: Float[np.ndarray, "samples neurons"],
    y: Float[np.ndarray, "samples targets"],
    sampler: Sampler,
    asked: Asked,
    targets: Literal["joint", "separate", "both"],
    *,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> tuple[Selection, ...]:
    """Select with a fitted sampler.

    Args:
        x: Activations, as `sampler.check` returns them.
        y: Targets, from `as_targets`.
        sampler: Fitted to these neurons.
        asked: The settings, checked, the dither a number.
        targets: As in `select`; "both" for the joint and the separate selection from the same
            draws.
        seed: As in `select`.
        n_jobs: As in `select`.
        progress: As in `select`.

    Returns:
        The selection; two for "both", the joint one first.
    """
    work, settings = _prepare(x, y, sampler, asked, seed)
    found = run_draws(work, settings["draws"], targets, n_jobs=n_jobs, progress=progress)
    wanted: tuple[Literal["joint", "separate"], ...] = (
        ("joint", "separate") if targets == "both" else (targets,)
    )
    return tuple(_conclude(found, which, sampler, settings) for which in wanted)


def run_at_floors(
    x: Float[np.ndarray, "samples neurons"],
    y: Float[np.ndarray, "samples targets"],
    sampler: Sampler,
    asked: Asked,
    floors: Sequence[float],
    *,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> list[Selection]:
    """Select for each target by itself, at several floors from the same draws.

    Args:
        x: As in `run_selection`.
        y: As in `run_selection`.
        sampler: As in `run_selection`.
        asked: As in `run_selection`; its floor is not looked at.
        floors: The floors.
        seed: As in `run_selection`.
        n_jobs: As in `run_selection`.
        progress: As in `run_selection`.

    Returns:
        For each floor what `run_selection` returns for it.
    """
    work, settings = _prepare(x, y, sampler, asked, seed)
    found = run_draws(work, settings["draws"], "separate", n_jobs=n_jobs, progress=progress)
    return [
        _conclude(found, "separate", sampler, {**settings, "floor": float(floor)})
        for floor in floors
    ]


def _prepare(
    x: Float[np.ndarray, "samples neurons"],
    y: Float[np.ndarray, "samples targets"],
    sampler: Sampler,
    asked: Asked,
    seed: int,
) -> tuple[Work, dict[str, Any]]:
    """Settle every "auto" that is left, and write down what was used."""
    measure = find_statistic(asked.statistic)
    tested = sampler.screening.tested
    repeats, copies = settled_draws(asked), settled_copies(asked, len(tested))
    averaged = repeats if asked.aggregate == "e_values" else 1
    most = MOST_ROWS if asked.rows == "auto" else asked.rows
    seen = len(x) if isinstance(most, str) else min(len(x), int(most))
    dither = float(asked.dither)
    own = np.ascontiguousarray(sampler.screening.coordinates(x))
    work = Work(own, y, sampler, measure, copies, dither, seen, seed)
    settings = {
        "fdr": float(asked.fdr),
        "level": internal_level(asked.fdr, averaged),
        "fewest": fewest(copies, asked.fdr, averaged),
        "samples": len(x),
        "tested": len(tested),
        "n_targets": y.shape[1],
        "sampler": {**sampler.tested.describe(), "digest": sampler.digest},
        "statistic": measure.describe(),
        "knockoffs": copies,
        "draws": repeats,
        "dither": dither,
        "floor": asked.least,
        "rows": seen,
        "aggregate": asked.aggregate,
        "seed": int(seed),
        "threads_per_task": THREADS_PER_TASK,
        "why": {**asked.reasons, **_why(asked, copies)},
        **asked.notes,
    }
    return work, settings


def settled_draws(asked: Asked) -> int:
    """How many draws there are; networks are slower than the lasso and get fewer."""
    if not isinstance(asked.draws, str):
        return int(asked.draws)
    network = isinstance(find_statistic(asked.statistic), Network)
    return NETWORK_DRAWS if network else DEFAULT_DRAWS


def settled_copies(asked: Asked, tested: int) -> int:
    """How many knockoffs each of so many neurons gets."""
    if not isinstance(asked.knockoffs, str):
        return int(asked.knockoffs)
    averaged = settled_draws(asked) if asked.aggregate == "e_values" else 1
    return knockoffs_for(tested, asked.fdr, averaged)


def _why(asked: Asked, copies: int) -> dict[str, str]:
    """For each setting that is settled here: why it is what it is."""
    reasons = {
        "statistic": "it sees targets of any form, which the lasso does not",
        "knockoffs": "the fewest that let a selection be as small as a sixteenth of the tested "
        "neurons"
        if copies < 20
        else "as many as are ever used; a selection can then be as small as possible",
        "draws": "two seeds then agree well at a reasonable cost",
        "rows": "what an imperfect density leaks grows with the rows",
    }
    return {name: text for name, text in reasons.items() if is_auto(getattr(asked, name))}


def _conclude(
    draws: Sequence[Draw],
    targets: Literal["joint", "separate"],
    sampler: Sampler,
    settings: dict[str, Any],
) -> Selection:
    """Average the evidence of the draws and select."""
    contests: list[Sequence[Contest]] = []
    for draw in draws:
        contests.append([draw.joint] if targets == "joint" and draw.joint else draw.separate)
    scores = np.array([[c.signed for c in row] for row in contests]).mean(0).T
    contests = [[floored(c, settings["floor"]) for c in row] for row in contests]
    evidence = np.array([[e_values(c, settings["level"]) for c in row] for row in contests])
    frequency = (evidence > 0).mean(0).T
    mean = evidence.mean(0).T
    if settings["aggregate"] == "frequency":
        selected, scores = frequency >= 0.5, frequency
    else:
        selected = e_bh(mean, settings["fdr"])
    spread = [_spread(values, sampler, targets) for values in (selected, mean, scores, frequency)]
    return Selection(
        selected=spread[0],
        e_values=spread[1],
        scores=spread[2],
        frequency=spread[3],
        fdr=settings["fdr"],
        message=unshown(settings) if selected.any() else explain(contests, settings),
        settings={**settings, "targets": targets},
        groups=sampler.screening.groups,
        set_aside=dict(sampler.screening.set_aside),
    )


def _spread(values: np.ndarray, sampler: Sampler, targets: str) -> np.ndarray:
    """From what is tested to all neurons: the members of a group get its values."""
    everything = np.zeros((sampler.n_neurons, values.shape[1]), dtype=values.dtype)
    places = {int(j): i for i, j in enumerate(sampler.screening.tested)}
    for neuron, tested in sampler.screening.representative.items():
        everything[neuron] = values[places[tested]]
    return everything[:, 0] if targets == "joint" else everything


def as_targets(
    y: Any, x: Float[np.ndarray, "samples neurons"]
) -> Float[np.ndarray, "samples targets"]:
    """The targets as columns of numbers.

    Raises:
        DataError: they are not one row per sample, are too few, or one is constant.
    """
    wanted = as_matrix(y, "y")
    if len(wanted) != len(x):
        raise DataError(
            f"y has {len(wanted)} samples and x has {len(x)}. Pass the same samples, in one order."
        )
    if len(x) < LEAST_SAMPLES:
        raise DataError(
            f"There are {len(x)} samples; a selection needs at least {LEAST_SAMPLES}. Pass more."
        )
    size = np.abs(wanted).max(0)
    constant = np.flatnonzero(np.ptp(wanted, axis=0) <= 1e-12 * np.maximum(size, 1e-300))
    if constant.size:
        raise DataError(
            f"Target {int(constant[0])} is constant at {wanted[0, constant[0]]:.6g}, so no neuron "
            "can matter for it. Leave it out, or choose samples on which it varies."
        )
    return wanted
