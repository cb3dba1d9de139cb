"""The public verbs: from activations and targets to the critical neurons, and the audit of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from neucept.errors import SettingsError
from neucept.knockoffs.asked import Asked, check_settings, is_auto
from neucept.knockoffs.audit import Audit, cells_of, measure
from neucept.knockoffs.choosing import settle
from neucept.knockoffs.sampling import Sampler, fit_sampler
from neucept.knockoffs.selecting import as_targets, run_selection
from neucept.knockoffs.selection import Selection
from neucept.knockoffs.statistics import Statistic
from neucept.runtime import Progress, check_seed

SAMPLER_REASON = "activations come in clumps, which one Gaussian does not copy"


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
    floor: float | Literal["auto"] = "auto",
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
        sampler: A density's name, "auto" (mixture), or a fitted sampler of the same neurons.
        statistic: A statistic's name, "auto" (network), or an object that offers what
            `statistics.Statistic` asks.
        knockoffs: Simultaneous knockoffs per draw; "auto" takes as many as let a selection be as
            small as a sixteenth of the layer, at most 20.
        draws: How many times knockoffs are drawn; "auto" is 20, or 4 for networks,
            which are slower.
        dither: Standard deviation of the noise that each draw adds to a target, in units of the
            target's own; "auto" is the least of `choosing.DITHERS` at which an audit of these
            neurons keeps the level, or of several the one that finds most of targets like a class
            score. That takes minutes, once for a layer; `settings` tells what it showed.
        floor: Share of the largest importance under which no neuron is named; "auto" is the least
            of `choosing.FLOORS` at which the same audit keeps the level, and 0 where a dither is
            given.
        rows: Samples that the statistic sees in each draw, drawn anew each time where there are
            more; "auto" is 10,000, "all" is all. The density is fitted to all. What an imperfect
            density leaks grows with the rows.
        targets: "joint": one selection for all columns of `y`; "separate": one for each, and
            arrays gain a last axis. The level then holds over all (neuron, target) pairs.
        aggregate: "e_values" keeps the promise. "frequency" selects what passes in at least half
            of the draws, each cut at `fdr`, and scores by that share, as published; it promises
            nothing.
        seed: At least 0. Equal seeds and data give equal results.
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
    asked = Asked(fdr, statistic, knockoffs, draws, dither, floor, rows, aggregate)
    check_settings(asked, sampler)
    check_seed(seed)
    fitted = sampler if isinstance(sampler, Sampler) else fit_sampler(x, sampler, seed)
    matrix = fitted.check(x)
    wanted = as_targets(y, matrix)
    settled = settle(matrix, fitted, asked, n_jobs=n_jobs, progress=progress)
    if isinstance(sampler, str) and is_auto(sampler):
        settled = replace(settled, reasons={"sampler": SAMPLER_REASON, **settled.reasons})
    (found,) = run_selection(
        matrix, wanted, fitted, settled, targets, seed=seed, n_jobs=n_jobs, progress=progress
    )
    return found


def audit(
    x: Any,
    *,
    fdr: float = 0.1,
    sampler: str | Sampler = "auto",
    statistic: str | Statistic = "auto",
    knockoffs: int | Literal["auto"] = "auto",
    draws: int | Literal["auto"] = "auto",
    dither: float | Literal["auto"] = "auto",
    floor: float | Literal["auto"] = "auto",
    rows: int | Literal["auto"] = "auto",
    kinds: Sequence[str] | None = None,
    noises: Sequence[float] = (0.0, 0.5),
    repeats: int = 4,
    planted: int | Literal["auto"] = "auto",
    seed: int = 0,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Measure false discovery rate and power of `select` on targets planted on these neurons.

    Each planted target stands for one call of `select` with that target alone. Those of a repeat
    share its knockoffs; each has neurons, weights and noise of its own.

    Args:
        x: Activations (samples, neurons): numpy, torch or a chunked array. What an imperfect
            density leaks grows with the samples, so pass as many as are selected on.
        fdr: As in `select`.
        sampler: As in `select`; fitted once, on all samples.
        statistic: As in `select`.
        knockoffs: As in `select`.
        draws: As in `select`.
        dither: As in `select`.
        floor: As in `select`.
        rows: As in `select`.
        kinds: Forms of the targets, from `planting.PLANTED`; None for all.
        noises: Of each kind, in standard deviations of the noise-free target; at least 0.
        repeats: How often everything is drawn anew, at least 2.
        planted: Neurons per target; "auto" is a quarter of the tested, between 3 and 20, and half
            of them for log-odds, as a class score depends on many.
        seed: At least 0.
        n_jobs: Workers; None for one per core. Results do not depend on it.
        progress: Told after each finished task.

    Returns:
        The audit.

    Raises:
        DataError: `x` cannot be used, or too few of its neurons can be tested.
        SettingsError: a setting is unknown or out of range.
    """
    cells = cells_of(kinds, noises, repeats)
    asked = Asked(fdr, statistic, knockoffs, draws, dither, floor, rows)
    check_settings(asked, sampler)
    check_seed(seed)
    fitted = sampler if isinstance(sampler, Sampler) else fit_sampler(x, sampler, seed)
    matrix = fitted.check(x)
    settled = settle(matrix, fitted, asked, n_jobs=n_jobs, progress=progress)
    (found,) = measure(
        matrix,
        fitted,
        settled,
        cells,
        repeats=repeats,
        planted=planted,
        seed=seed,
        n_jobs=n_jobs,
        progress=progress,
    )
    return found
