"""What dither "auto" stands for on these neurons: the least at which the level is seen to hold.

Dither hides what an imperfect density leaks, and costs power. How much is needed differs from layer
to layer, so it is tried out on planted targets, whose neurons are known.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from neucept.knockoffs.asked import Asked, is_auto
from neucept.knockoffs.audit import FEWEST_PLANTED, Audit, cells_of, measure
from neucept.knockoffs.sampling import Sampler
from neucept.knockoffs.selecting import settled_draws
from neucept.knockoffs.statistics import find_statistic
from neucept.runtime import Progress, derived_seed, digest

LADDER = (0.0, 0.1, 0.2, 0.4, 0.8)
"""Dithers that are tried, in standard deviations of the target."""

UNAUDITED = 0.5
"""The dither of a layer with too few neurons for an audit."""

HARDEST = ("network", "even", "product", "max")
"""Kinds of target that choose: where it was measured, most wrong neurons were named for these."""

REPEATS = 2

REMEMBERED = 32
"""Choices that a process keeps."""

_SEED = 0
"""One for all, so that two selections on the same neurons make the same choice."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A dither, and what planted targets say of it.

    Attributes:
        dither: In standard deviations of the target.
        audit: On targets other than those that chose; None where no audit was possible.
        tried: The dithers that were looked at: dither, fdr, fdr_error, power.
    """

    dither: float
    audit: Audit | None
    tried: tuple[dict[str, float], ...] = field(default=())

    @property
    def why(self) -> str:
        """The reason, for `Selection.settings`."""
        if self.audit is None:
            return "too few neurons for an audit to choose by"
        if self.audit.passes:
            return "the least tried at which the level holds for planted targets"
        return "the most that is tried; planted targets do not show that the level holds"

    def settles(self, asked: Asked) -> Asked:
        """The settings with this dither, and what is to be said of it."""
        notes = {"audit": None if self.audit is None else self.audit.to_json()}
        return replace(
            asked,
            dither=self.dither,
            reasons={**asked.reasons, "dither": self.why},
            notes={**asked.notes, **notes, "tried": list(self.tried)},
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything, as plain arrays that `runtime.write_arrays` can store."""
        text = {"dither": self.dither, "tried": self.tried, "audited": self.audit is not None}
        arrays = {} if self.audit is None else self.audit.to_arrays()
        return {
            **{f"audit {k}": v for k, v in arrays.items()},
            "choice": np.array(json.dumps(text)),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Choice:
        """The choice that `to_arrays` took apart."""
        text = json.loads(str(arrays["choice"]))
        audit = {k.removeprefix("audit "): v for k, v in arrays.items() if k != "choice"}
        found = Audit.from_arrays(audit) if text["audited"] else None
        return cls(text["dither"], found, tuple(text["tried"]))


_choices: OrderedDict[str, Choice] = OrderedDict()


def settle(
    x: Float[np.ndarray, "samples neurons"],
    sampler: Sampler,
    asked: Asked,
    *,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> Asked:
    """The settings with a number for the dither.

    Args:
        x: As in `choose`.
        sampler: As in `choose`.
        asked: The settings, checked.
        n_jobs: As in `choose`.
        progress: As in `choose`.

    Returns:
        Settings that `run_selection` can run. Frequencies promise nothing and get no dither.
    """
    if not is_auto(asked.dither):
        return asked
    if asked.aggregate != "e_values":
        return replace(asked, dither=0.0, reasons={"dither": "no level is promised"})
    return choose(x, sampler, asked, n_jobs=n_jobs, progress=progress).settles(asked)


def choose(
    x: Float[np.ndarray, "samples neurons"],
    sampler: Sampler,
    asked: Asked,
    *,
    repeats: int = REPEATS,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> Choice:
    """Choose the dither of a layer by small audits without noise.

    Targets of the hardest kinds are planted, and selected for with half the draws, at no dither
    first and then at more, until the share of wrong neurons stays under the level. What was chosen
    is then audited as it will be used, on fresh targets of all kinds, and raised again while these
    do not support it.

    Args:
        x: Activations, as `sampler.check` returns them.
        sampler: Fitted to these neurons.
        asked: All other settings of the selection; its dither is not looked at.
        repeats: Of each audit, at least 2.
        n_jobs: Workers; None for one per core. The choice does not depend on it.
        progress: Told after each finished task, with the stage "audit at dither ...".

    Returns:
        The choice. It depends on the arguments alone, and not on the targets that will be
        selected for; a process remembers it.
    """
    if len(sampler.screening.tested) <= FEWEST_PLANTED:
        return Choice(UNAUDITED, None)
    name = (asked.fdr, asked.knockoffs, asked.draws, asked.rows, repeats)
    key = digest(x, sampler.digest, repr(find_statistic(asked.statistic).describe()), repr(name))
    if key not in _choices:
        rungs = _Rungs(x, sampler, asked, repeats, n_jobs, progress)
        _choices[key] = rungs.climbed(rungs.chosen())
        while len(_choices) > REMEMBERED:
            _choices.popitem(last=False)
    _choices.move_to_end(key)
    return _choices[key]


@dataclass(frozen=True, eq=False)
class _Rungs:
    """The ladder of one layer, and what was seen on it."""

    x: Float[np.ndarray, "samples neurons"]
    sampler: Sampler
    asked: Asked
    repeats: int
    n_jobs: int | None
    progress: Progress | None
    tried: list[dict[str, float]] = field(default_factory=list)

    def chosen(self) -> int:
        """The least rung that looks safe; the last, which is not tried here, when none does."""
        below = range(len(LADDER) - 1)
        return next((rung for rung in below if self._safe(rung)), len(LADDER) - 1)

    def climbed(self, rung: int) -> Choice:
        """The first rung from this one up that fresh targets support, or the last."""
        audit = self._measured(rung, "shown", self.asked)
        while not audit.passes and rung + 1 < len(LADDER):
            rung += 1
            audit = self._measured(rung, "shown", self.asked)
        return Choice(LADDER[rung], audit, tuple(self.tried))

    def _safe(self, rung: int) -> bool:
        # Half the draws do for a choice; what is shown comes from all of them.
        half = max(2, settled_draws(self.asked) // 2)
        found = self._measured(rung, "chooses", replace(self.asked, draws=half), HARDEST)
        return found.fdr <= found.level and bool(found.kinds["passes"].all())

    def _measured(
        self, rung: int, role: str, asked: Asked, kinds: tuple[str, ...] | None = None
    ) -> Audit:
        dither = LADDER[rung]
        found = measure(
            self.x,
            self.sampler,
            replace(asked, dither=dither),
            cells_of(kinds, (0.0,), self.repeats),
            repeats=self.repeats,
            seed=derived_seed(_SEED, "dither", role, rung),
            n_jobs=self.n_jobs,
            progress=_named(self.progress, dither),
        )
        seen = {"dither": dither, "fdr": found.fdr, "fdr_error": found.fdr_error}
        self.tried.append({**seen, "power": found.power})
        return found


def _named(progress: Progress | None, dither: float) -> Progress | None:
    if progress is None:
        return None

    def told(_: str, done: int, total: int) -> None:
        progress(f"audit at dither {dither:g}", done, total)

    return told
