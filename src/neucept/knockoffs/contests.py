"""The part of a selection that is repeated: draw knockoffs, measure, compare. One task each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float

from neucept.knockoffs.filter import Contest, contest
from neucept.knockoffs.gaussian import Gaussian
from neucept.knockoffs.lasso import FromMoments, over_targets
from neucept.knockoffs.sampling import Sampler
from neucept.knockoffs.statistics import Statistic
from neucept.knockoffs.unformed import Unformed
from neucept.runtime import Progress, generator, run_tasks

TARGETS_PER_TASK = 32
"""Separate targets are cut into blocks of this many, whatever the number of workers."""


@dataclass(frozen=True, eq=False)
class Work:
    """What every task of a selection shares.

    Attributes:
        x: Coordinates of what is tested (`Screening.coordinates`).
        y: Targets.
        sampler: Where knockoffs come from.
        statistic: How importance is measured.
        knockoffs: Simultaneous copies per draw.
        dither: Noise added to each target in each draw, in units of its own spread.
        rows: Samples that each draw sees; another part of them each time where there are more.
        seed: Of the whole selection.
    """

    x: Float[np.ndarray, "samples columns"]
    y: Float[np.ndarray, "samples targets"]
    sampler: Sampler
    statistic: Statistic
    knockoffs: int
    dither: float
    rows: int
    seed: int

    @cached_property
    def unformed(self) -> Unformed | None:
        """What draws of second moments need; None where knockoffs have to be formed."""
        law, statistic = self.sampler.tested, self.statistic
        if not (
            isinstance(law, Gaussian)
            and isinstance(statistic, FromMoments)
            and self.rows == len(self.x)
        ):
            return None
        return Unformed.of(
            self.x,
            self.y,
            statistic.fold_rows(len(self.x)),
            law.affine(self.knockoffs),
            self.dither * self.y.std(0),
        )


@dataclass(frozen=True, eq=False)
class Draw:
    """What one draw of knockoffs came to.

    Attributes:
        joint: For all targets together; None if not asked for.
        separate: For each target; empty if not asked for.
    """

    joint: Contest | None
    separate: tuple[Contest, ...]


def run_draws(
    work: Work,
    draws: int,
    targets: Literal["joint", "separate", "both"],
    *,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> list[Draw]:
    """Repeat the contest of neurons and knockoffs.

    Args:
        work: Data and settings.
        draws: How often.
        targets: Whether targets are taken together, one by one, or both from the same fits.
        n_jobs: Workers; None for one per core.
        progress: Told after each finished task.

    Returns:
        The draws. A draw depends on the seed and its number alone: results agree between any
        numbers of workers. Knockoffs that are formed agree between calls with other targets.
    """
    unformed = run_tasks(_prepared, [(work,)], n_jobs=1)[0]
    count = work.y.shape[1]
    step = TARGETS_PER_TASK if targets == "separate" and not unformed else count
    blocks = [(begin, min(begin + step, count)) for begin in range(0, count, step)]
    jobs = [(work, targets, draw, *block) for draw in range(draws) for block in blocks]
    pieces = run_tasks(_task, jobs, n_jobs=n_jobs, progress=progress, stage="select")
    found = [pieces[d * len(blocks) : (d + 1) * len(blocks)] for d in range(draws)]
    return [
        Draw(blocks[0].joint, tuple(c for block in blocks for c in block.separate))
        for blocks in found
    ]


def _prepared(work: Work) -> bool:
    """Do once what every draw needs; whether knockoffs are never formed."""
    work.sampler.tested.prepare(work.knockoffs)
    return work.unformed is not None


def _task(work: Work, targets: str, draw: int, begin: int, end: int) -> Draw:
    """One draw of knockoffs against some of the targets."""
    if work.unformed is not None and isinstance(work.statistic, FromMoments):
        return _unformed_task(work, work.unformed, work.statistic, targets, draw)
    x, y = work.x, work.y
    spread = y.std(0)
    if work.rows < len(x):
        chosen = generator(work.seed, "rows", draw).choice(len(x), work.rows, replace=False)
        chosen.sort()
        x, y = x[chosen], y[chosen]
    noise = generator(work.seed, "knockoffs", draw)
    drawn = work.sampler.tested.knockoffs(x, work.knockoffs, noise)
    if work.dither > 0:
        dither = generator(work.seed, "dither", draw).standard_normal(y.shape)
        y = y + work.dither * spread * dither
    y = y[:, begin:end]
    random = generator(work.seed, "statistic", draw)
    if targets == "joint":
        return _settled(work, work.statistic.joint(x, drawn, y, random), None)
    if targets == "both":
        return _settled(work, *work.statistic.both(x, drawn, y, random))
    return _settled(work, None, work.statistic.separate(x, drawn, y, random))


def _unformed_task(
    work: Work, unformed: Unformed, statistic: FromMoments, targets: str, draw: int
) -> Draw:
    """One draw against all targets, from second moments alone."""
    moments = unformed.draw(generator(work.seed, "knockoffs", draw))
    random = generator(work.seed, "statistic", draw)
    separate = statistic.fitted(moments, work.knockoffs, random)
    joint = None if targets == "separate" else over_targets(separate)
    return _settled(work, joint, None if targets == "joint" else separate)


def _settled(
    work: Work,
    joint: Float[np.ndarray, "neurons columns"] | None,
    separate: Float[np.ndarray, "neurons columns targets"] | None,
) -> Draw:
    """The contests that importances come to."""
    merged = work.sampler.screening.merged
    together = None if joint is None else contest(merged(joint))
    if separate is None:
        return Draw(together, ())
    units = merged(separate)
    return Draw(together, tuple(contest(units[:, :, t]) for t in range(units.shape[2])))
