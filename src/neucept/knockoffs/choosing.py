"""What dither and floor "auto" stand for on these neurons: the least at which the level holds.

Both hide what an imperfect density leaks: a floor names no neuron that matters little beside the
one that matters most, and dither drowns small effects in noise. Both cost power, dither more. How
much is needed differs from layer to layer, so it is tried out on planted targets, whose neurons are
known.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from neucept.knockoffs.asked import Asked, is_auto
from neucept.knockoffs.audit import FEWEST_PLANTED, LEEWAY, WIDE, Audit, cells_of, measure
from neucept.knockoffs.remembered import remembered
from neucept.knockoffs.sampling import Sampler
from neucept.knockoffs.statistics import find_statistic
from neucept.runtime import Progress, derived_seed, digest

FLOORS = (0.03, 0.05, 0.08, 0.09, 0.1, 0.11, 0.12, 0.14, 0.16, 0.2, 0.25, 0.3)
"""Floors that are tried, as shares of the largest importance. One set of fits serves them all; the
steps are short where class scores mostly settle, so that chance in audits costs little power."""

DITHERS = (0.0, 0.2, 0.8)
"""Dithers that are tried, in standard deviations of the target."""

LOW = 0.16
"""With a floor up to here no further dither is tried: it would cost more power than the floor."""

MARGIN = 0.5
"""Share of the level under which the mean of the targets that choose must stay."""

WIDE_MARGIN = 0.4
"""The same for those most like a class score: beside known nulls, real class scores were seen to
err 1.7 to 2.7 times as often."""

UNAUDITED = (0.5, 0.0)
"""Dither and floor of a layer with too few neurons for an audit."""

REPEATS = 2
"""Of each audit, at first."""

REMEMBERED = 32
"""Choices that a process keeps."""

_SEED = 0
"""One for all, so that two selections on the same neurons make the same choice."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A dither and a floor, and what planted targets say of them.

    Attributes:
        dither: In standard deviations of the target.
        floor: Share of the largest importance.
        audit: On targets other than those that chose; None where no audit was possible.
        tried: What was looked at: dither, floor, fdr, fdr_error, power.
    """

    dither: float
    floor: float
    audit: Audit | None
    tried: tuple[dict[str, float], ...] = field(default=())

    @property
    def why(self) -> str:
        """The reason, for `Selection.settings`."""
        if self.audit is None:
            return "too few neurons for an audit to choose by"
        if _holds(self.audit):
            return (
                "the least tried at which the level holds for planted targets; where several "
                "dithers were tried, the one that finds most of targets like a class score"
            )
        return "the most that is tried; planted targets do not show that the level holds"

    def settles(self, asked: Asked) -> Asked:
        """The settings with this choice, and what is to be said of it."""
        audit = self.audit
        notes = {
            "audit": None if audit is None else audit.to_json(),
            "supported": None if audit is None else _holds(audit),
        }
        reasons = {"dither": self.why}
        if is_auto(asked.floor):
            reasons["floor"] = self.why
        return replace(
            asked,
            dither=self.dither,
            floor=self.floor,
            reasons={**asked.reasons, **reasons},
            notes={**asked.notes, **notes, "tried": list(self.tried)},
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything, as plain arrays that `runtime.write_arrays` can store."""
        text = {
            "dither": self.dither,
            "floor": self.floor,
            "tried": self.tried,
            "audited": self.audit is not None,
        }
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
        return cls(text["dither"], text["floor"], found, tuple(text["tried"]))


_choices: OrderedDict[str, Choice] = OrderedDict()


def settle(
    x: Float[np.ndarray, "samples neurons"],
    sampler: Sampler,
    asked: Asked,
    *,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> Asked:
    """The settings with numbers for dither and floor.

    Args:
        x: As in `choose`.
        sampler: As in `choose`.
        asked: The settings, checked.
        n_jobs: As in `choose`.
        progress: As in `choose`.

    Returns:
        Settings that `run_selection` can run. Frequencies promise nothing and get no dither; with
        a given dither nothing is left to choose.
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
    """Choose dither and floor of a layer by small audits without noise.

    Targets of all kinds are planted, and selected for without dither. The least floor is taken
    from which on the share of wrong neurons stays well under the level, and for no kind far
    over it; where that is a high one or there is none, dither is tried too, and what finds most
    of targets like a class score is taken. It is then audited again, on fresh targets, and raised
    while these do not support it.

    Args:
        x: Activations, as `sampler.check` returns them.
        sampler: Fitted to these neurons.
        asked: All other settings of the selection. Its dither is not looked at; a floor that is a
            number stays.
        repeats: Of each audit, at least 2; those that choose have twice as many where the least
            floor does not do.
        n_jobs: Workers; None for one per core. The choice does not depend on it.
        progress: Told after each finished task, with the stage "choice at dither ...", the same
            with "a closer look", or "audit at dither ...".

    Returns:
        The choice. It depends on the arguments alone, and not on the targets that will be
        selected for; it is remembered on disk (`remembered.folder`).
    """
    if len(sampler.screening.tested) <= FEWEST_PLANTED:
        dither, floor = UNAUDITED
        return Choice(dither, floor if is_auto(asked.floor) else asked.least, None)
    name = (asked.fdr, asked.knockoffs, asked.draws, asked.floor, asked.rows, repeats)
    key = digest(x, sampler.digest, repr(find_statistic(asked.statistic).describe()), repr(name))

    def compute() -> Choice:
        trials = _Trials(x, sampler, asked, repeats, n_jobs, progress)
        return trials.shown(*trials.best())

    if key not in _choices:
        # The code of a statistic of the user's own has no name, and may change.
        own = not isinstance(asked.statistic, str)
        _choices[key] = (
            compute() if own else remembered(key, compute, Choice.to_arrays, Choice.from_arrays)
        )
        while len(_choices) > REMEMBERED:
            _choices.popitem(last=False)
    _choices.move_to_end(key)
    return _choices[key]


@dataclass(frozen=True, eq=False)
class _Trials:
    """What is tried on one layer, and what was seen."""

    x: Float[np.ndarray, "samples neurons"]
    sampler: Sampler
    asked: Asked
    repeats: int
    n_jobs: int | None
    progress: Progress | None
    tried: list[dict[str, float]] = field(default_factory=list)

    @property
    def floors(self) -> tuple[float, ...]:
        """Those that may be chosen, rising."""
        return FLOORS if is_auto(self.asked.floor) else (self.asked.least,)

    def best(self) -> tuple[int, int]:
        """Which dither and floor look safe and find most; the largest where none do."""
        found: list[tuple[float, int, int]] = []
        for place, dither in enumerate(DITHERS):
            audits = self._choosing(dither)
            safe = _first_safe(audits)
            if safe == len(audits):
                continue
            found.append((_finds(audits[safe]), place, safe))
            # A floor that was given is no reason to look further.
            if self.floors[safe] <= LOW or not is_auto(self.asked.floor):
                break
        if not found:
            return len(DITHERS) - 1, len(self.floors) - 1
        return max(found, key=lambda one: one[0])[1:]

    def shown(self, dither: int, floor: int) -> Choice:
        """The first from these up that fresh targets support, or the largest."""
        while True:
            audit = self._showing(DITHERS[dither], self.floors[floor])
            last = len(DITHERS) - 1, len(self.floors) - 1
            if _holds(audit) or (dither, floor) == last:
                return Choice(DITHERS[dither], self.floors[floor], audit, tuple(self.tried))
            if floor < last[1]:
                floor += 1
            else:
                dither += 1

    def _choosing(self, dither: float) -> list[Audit]:
        """Audits at every floor; with twice the repeats where the least floor does not do.

        A floor has to be safe in many ways, and by chance it is not in one of them: two
        repeats choose one floor too high in one case of seven.
        """
        stage = f"choice at dither {dither:g}"
        seeds = [derived_seed(_SEED, name, repr(dither)) for name in ("chooses", "chooses again")]
        audits = self._measured(dither, self.floors, seeds[0], stage)
        if _first_safe(audits) > 0:
            more = self._measured(dither, self.floors, seeds[1], f"{stage}, a closer look")
            audits = [one.joined(other) for one, other in zip(audits, more, strict=True)]
        return self._noted(dither, self.floors, audits)

    def _showing(self, dither: float, floor: float) -> Audit:
        seed = derived_seed(_SEED, "shown", repr(dither), repr(floor))
        stage = f"audit at dither {dither:g}, floor {floor:g}"
        return self._noted(dither, (floor,), self._measured(dither, (floor,), seed, stage))[0]

    def _measured(
        self, dither: float, floors: Sequence[float], seed: int, stage: str
    ) -> list[Audit]:
        return measure(
            self.x,
            self.sampler,
            replace(self.asked, dither=dither),
            cells_of(None, (0.0,), self.repeats),
            floors=floors,
            repeats=self.repeats,
            seed=seed,
            n_jobs=self.n_jobs,
            progress=_named(self.progress, stage),
        )

    def _noted(self, dither: float, floors: Sequence[float], audits: list[Audit]) -> list[Audit]:
        for floor, audit in zip(floors, audits, strict=True):
            seen = {"fdr": audit.fdr, "fdr_error": audit.fdr_error, "power": audit.power}
            self.tried.append({"dither": dither, "floor": floor, **seen})
        return audits


def _first_safe(audits: Sequence[Audit]) -> int:
    """The least floor from which on all look safe; their number where the last does not."""
    first = len(audits)
    while first > 0 and _safe(audits[first - 1]):
        first -= 1
    return first


def _safe(audit: Audit) -> bool:
    """Stricter than an audit's verdict: the least floor that does may do so by chance."""
    alike = audit.kinds.loc[audit.kinds["kind"].isin(WIDE), "fdr"]
    if (alike > WIDE_MARGIN * audit.level).any() or audit.fdr > MARGIN * audit.level:
        return False
    return _even(audit)


def _finds(audit: Audit) -> float:
    """Power for targets most like a class score: noise drowns their many small effects first."""
    alike = audit.trials.loc[audit.trials["kind"].isin(WIDE), "power"]
    return audit.power if alike.empty else float(alike.mean())


def _holds(audit: Audit) -> bool:
    return audit.passes and _even(audit)


def _even(audit: Audit) -> bool:
    """Whether no kind is far over the level; without the allowance for few repeats."""
    return float(audit.kinds["fdr"].max()) <= LEEWAY * audit.level * (1 + 1e-9)


def _named(progress: Progress | None, stage: str) -> Progress | None:
    if progress is None:
        return None
    return lambda _, done, total: progress(stage, done, total)
