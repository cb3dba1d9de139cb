"""From activations and targets to the critical neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from neucept.errors import DataError, SettingsError
from neucept.knockoffs.contests import Draw, Work, run_draws
from neucept.knockoffs.density import check_density
from neucept.knockoffs.explain import explain
from neucept.knockoffs.filter import (
    Contest,
    e_bh,
    e_values,
    fewest,
    internal_level,
    knockoffs_for,
)
from neucept.knockoffs.sampling import MOST_KNOCKOFFS, Sampler, fit_sampler
from neucept.knockoffs.screening import LEAST_SAMPLES, as_matrix
from neucept.knockoffs.selection import Selection
from neucept.knockoffs.statistics import Statistic, find_statistic
from neucept.runtime import THREADS_PER_TASK, Progress, check_seed, is_real, is_whole

DEFAULT_DRAWS = 20
DEFAULT_DITHER = 0.0
MOST_ROWS = 10_000
MOST_DRAWS = 10_000


def select(
    x: Any,
    y: Any,
    *,
    fdr: float = 0.1,
    sampler: str | Sampler = "auto",
    statistic: str | Statistic = "auto",
    knockoffs: int | Literal["auto"] = "auto",
    draws: int | Literal["auto"] = "auto",
    dither: float | Literal["auto"] = "auto",
    rows: int | Literal["auto", "all"] = "auto",
    targets: Literal["joint", "separate"] = "joint",
    aggregate: Literal["e_values", "frequency"] = "e_values",
    seed: int = 0,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> Selection:
    """Select the neurons that the targets depend on, given all other neurons of the layer.

    Args:
        x: Activations (samples, neurons): numpy, torch or a chunked array.
        y: Targets (samples,) or (samples, targets).
        fdr: The mean share of wrong neurons among the selected that is accepted, in (0, 1).
        sampler: A density's name, "auto" (gaussian), or a fitted sampler of the same neurons.
        statistic: A statistic's name, "auto" (lasso), or an object that offers what
            `statistics.Statistic` asks.
        knockoffs: Simultaneous knockoffs per draw; "auto" takes as many as let a selection be as
            small as a sixteenth of the layer, at most 20.
        draws: How many times knockoffs are drawn; "auto" is 20.
        dither: Standard deviation of the noise that each draw adds to a target, in units of the
            target's own; "auto" is none.
        rows: Samples that the statistic sees in each draw, drawn anew each time where there are
            more; "auto" is 10,000, "all" is all. The density is fitted to all. What an imperfect
            density leaks grows with the rows.
        targets: "joint": one selection for all columns of `y`; "separate": one for each, and
            arrays gain a last axis. The level then holds over all (neuron, target) pairs.
        aggregate: "e_values" keeps the promise. "frequency" selects what passes in at least half
            of the draws, each cut at `fdr`, and scores by that share, as published; it promises
            nothing.
        seed: At least 0. Equal seeds give equal knockoffs, whatever the targets.
        n_jobs: Workers; None for one per core. Results do not depend on it.
        progress: Told after each finished task.

    Returns:
        The selection.

    Raises:
        DataError: `x` or `y` cannot be used.
        SettingsError: a setting is unknown or out of range.

    Source: Candes, Fan, Janson, Lv (2018); Gimenez and Zou (2019); Ren and Barber (2024).
    """
    if targets not in ("joint", "separate"):
        raise SettingsError(f"targets is {targets!r}. Pass 'joint' or 'separate'.")
    check_settings(fdr, sampler, statistic, knockoffs, draws, dither, rows, aggregate)
    check_seed(seed)
    work, settings = _prepare(
        x, y, fdr, sampler, statistic, knockoffs, draws, dither, rows, aggregate, seed
    )
    found = run_draws(work, settings["draws"], targets, n_jobs=n_jobs, progress=progress)
    return _conclude(found, targets, work.sampler, settings)


def select_both(
    x: Any,
    y: Any,
    *,
    fdr: float = 0.1,
    sampler: str | Sampler = "auto",
    statistic: str | Statistic = "auto",
    knockoffs: int | Literal["auto"] = "auto",
    draws: int | Literal["auto"] = "auto",
    dither: float | Literal["auto"] = "auto",
    rows: int | Literal["auto", "all"] = "auto",
    aggregate: Literal["e_values", "frequency"] = "e_values",
    seed: int = 0,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> tuple[Selection, Selection]:
    """The joint and the separate selection, from the same draws and, where possible, fits.

    As from two calls of `select`, but for rounding, at half the time where the joint statistic is
    made from the separate fits.

    Args:
        x: As in `select`.
        y: As in `select`.
        fdr: As in `select`.
        sampler: As in `select`.
        statistic: As in `select`.
        knockoffs: As in `select`.
        draws: As in `select`.
        dither: As in `select`.
        rows: As in `select`.
        aggregate: As in `select`.
        seed: As in `select`.
        n_jobs: As in `select`.
        progress: As in `select`.

    Returns:
        The joint selection and the separate one.

    Raises:
        DataError: `x` or `y` cannot be used.
        SettingsError: a setting is unknown or out of range.
    """
    check_settings(fdr, sampler, statistic, knockoffs, draws, dither, rows, aggregate)
    check_seed(seed)
    work, settings = _prepare(
        x, y, fdr, sampler, statistic, knockoffs, draws, dither, rows, aggregate, seed
    )
    found = run_draws(work, settings["draws"], "both", n_jobs=n_jobs, progress=progress)
    joint = _conclude(found, "joint", work.sampler, settings)
    return joint, _conclude(found, "separate", work.sampler, settings)


def _prepare(
    x: Any,
    y: Any,
    fdr: float,
    sampler: str | Sampler,
    statistic: str | Statistic,
    knockoffs: int | str,
    draws: int | str,
    dither: float | str,
    rows: int | str,
    aggregate: str,
    seed: int,
) -> tuple[Work, dict[str, Any]]:
    """Read the data, fit what is not fitted, settle every "auto", and write down what was used."""
    measure = find_statistic(statistic)
    fitted = sampler if isinstance(sampler, Sampler) else fit_sampler(x, sampler, seed)
    matrix = fitted.check(x)
    wanted = _targets(y, matrix)
    tested = fitted.screening.tested
    repeats = DEFAULT_DRAWS if draws == "auto" else int(draws)
    averaged = repeats if aggregate == "e_values" else 1
    copies = knockoffs_for(len(tested), fdr, averaged) if knockoffs == "auto" else int(knockoffs)
    noise = DEFAULT_DITHER if dither == "auto" else float(dither)
    most = MOST_ROWS if rows == "auto" else rows
    seen = len(matrix) if isinstance(most, str) else min(len(matrix), int(most))
    work = Work(
        np.ascontiguousarray(matrix[:, tested]), wanted, fitted, measure, copies, noise, seen, seed
    )
    settings = {
        "fdr": float(fdr),
        "level": internal_level(fdr, averaged),
        "fewest": fewest(copies, fdr, averaged),
        "samples": len(matrix),
        "tested": len(tested),
        "n_targets": wanted.shape[1],
        "sampler": {**fitted.tested.describe(), "digest": fitted.digest},
        "statistic": measure.describe(),
        "knockoffs": copies,
        "draws": repeats,
        "dither": noise,
        "rows": seen,
        "aggregate": aggregate,
        "seed": int(seed),
        "threads_per_task": THREADS_PER_TASK,
        "why": _why(sampler, statistic, knockoffs, draws, dither, rows, copies),
    }
    return work, settings


def _why(
    sampler: str | Sampler,
    statistic: str | Statistic,
    knockoffs: int | str,
    draws: int | str,
    dither: float | str,
    rows: int | str,
    copies: int,
) -> dict[str, str]:
    """For each setting that was left to us: why it is what it is."""
    reasons = {
        "sampler": (
            sampler,
            "fast, and exact where neurons are jointly Gaussian",
        ),
        "statistic": (
            statistic,
            "fast, and strongest where targets are near to linear",
        ),
        "knockoffs": (
            knockoffs,
            "the fewest that let a selection be as small as a sixteenth of the tested neurons"
            if copies < 20
            else "as many as are ever used; a selection can then be as small as possible",
        ),
        "draws": (draws, "two seeds then agree well at a reasonable cost"),
        "dither": (dither, "none unless asked for"),
        "rows": (rows, "what an imperfect density leaks grows with the rows"),
    }
    return {
        name: text
        for name, (value, text) in reasons.items()
        if isinstance(value, str) and value == "auto"
    }


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
    evidence = np.array([[e_values(c, settings["level"]) for c in row] for row in contests])
    scores = np.array([[c.signed for c in row] for row in contests]).mean(0).T
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
        message="" if selected.any() else explain(contests, settings),
        settings={**settings, "targets": targets},
        groups=sampler.screening.groups,
        set_aside=dict(sampler.screening.set_aside),
    )


def _spread(values: np.ndarray, sampler: Sampler, targets: str) -> np.ndarray:
    """From the tested neurons to all: group members get their representative's values."""
    everything = np.zeros((sampler.n_neurons, values.shape[1]), dtype=values.dtype)
    places = {int(j): i for i, j in enumerate(sampler.screening.tested)}
    for neuron, tested in sampler.screening.representative.items():
        everything[neuron] = values[places[tested]]
    return everything[:, 0] if targets == "joint" else everything


def _targets(
    y: Any, x: Float[np.ndarray, "samples neurons"]
) -> Float[np.ndarray, "samples targets"]:
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


def check_settings(
    fdr: object,
    sampler: object,
    statistic: object,
    knockoffs: object,
    draws: object,
    dither: object,
    rows: object,
    aggregate: object,
) -> None:
    """Refuse what no selection can be run with.

    Args:
        fdr: As in `select`.
        sampler: As in `select`.
        statistic: As in `select`.
        knockoffs: As in `select`.
        draws: As in `select`.
        dither: As in `select`.
        rows: As in `select`.
        aggregate: As in `select`.

    Raises:
        SettingsError: a setting is unknown or out of range.
    """
    if not isinstance(sampler, Sampler):
        check_density(sampler)
    find_statistic(statistic)
    if not is_real(fdr) or not 0 < fdr < 1:
        raise SettingsError(f"fdr is {fdr!r}. Pass a number between 0 and 1, such as 0.1.")
    for name, value, most in (
        ("knockoffs", knockoffs, MOST_KNOCKOFFS),
        ("draws", draws, MOST_DRAWS),
    ):
        if not _is_auto(value) and not (is_whole(value) and 1 <= int(value) <= most):
            raise SettingsError(
                f"{name} is {value!r}. Pass 'auto' or a whole number from 1 to {most}."
            )
    if not _is_auto(dither) and not (is_real(dither) and 0 <= dither < np.inf):
        raise SettingsError(f"dither is {dither!r}. Pass 'auto' or a number of at least 0.")
    named = isinstance(rows, str) and rows in ("auto", "all")
    if not named and not (is_whole(rows) and rows >= LEAST_SAMPLES):
        raise SettingsError(
            f"rows is {rows!r}. Pass 'auto', 'all' or a whole number of at least {LEAST_SAMPLES}."
        )
    if aggregate not in ("e_values", "frequency"):
        raise SettingsError(f"aggregate is {aggregate!r}. Pass 'e_values' or 'frequency'.")


def _is_auto(value: object) -> bool:
    return isinstance(value, str) and value == "auto"
