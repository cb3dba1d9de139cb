"""The causal check: cuts that take one mechanism's predictions away and spare the others'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from torch import nn

from neucept.activations import Activations, evaluation_mode, meaning_of
from neucept.critical import Critical
from neucept.errors import DataError, ModelError, SettingsError, near_names
from neucept.evaluation.cutrecord import Selectivity
from neucept.evaluation.cutsearch import CutSearch, Found
from neucept.evaluation.cutting import LayerRun
from neucept.evaluation.halves import Part, halves, interval
from neucept.evaluation.swapping import Swapping, recorded_donors
from neucept.mechanisms import Mechanisms
from neucept.runtime import Progress, check_seed, generator, is_real, is_whole

NEAREST = 5
"""Donors that a sample may take values from, unless told otherwise."""

CANDIDATES = 128
"""Critical neurons that are tried at most: those whose means differ most between mechanisms."""

MEASURE_DRAWS = 8
"""Donors per sample when a cut is measured."""

TABLE_COLUMNS = (
    "cut",
    "mechanism",
    "neurons",
    "samples",
    "probability",
    "loss",
    "loss_low",
    "loss_high",
    "changed",
    "changed_low",
    "changed_high",
    "moved",
)


def selectivity(
    model: nn.Module,
    data: Any,
    acts: Activations,
    crit: Critical,
    mech: Mechanisms,
    *,
    layer: str | None = None,
    samples: int = 200,
    most: int = 24,
    level: float = 0.9,
    nearest: int | None = NEAREST,
    groups: Sequence[object] | np.ndarray | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> Selectivity:
    """Find, for each mechanism, the fewest neurons whose cut takes its predictions and no others'.

    A neuron that is cut takes the value it has in a donor: a sample that the network predicts as
    another class, one of those most alike in the neurons that are not cut. All cut neurons take
    theirs from the same donor. So what the neurons say becomes what they say where the class is
    not predicted, on values and maps that the network has met.

    Half of each mechanism's samples choose the cut, by the share of the log-odds it takes from
    them and from the others (`Selectivity.path`); the other half, which chose nothing, measure it.

    Args:
        model: The network that `acts` was captured from; left exactly as found.
        data: The samples that `acts` was captured from.
        acts: Captured activations.
        crit: Critical neurons; only these are cut.
        mech: The mechanisms of the same class; at least two.
        layer: Whose neurons are cut; None for the layer that the mechanisms were found in (the
            last of several).
        samples: Samples of each mechanism at most that choose, and as many that measure.
        most: Neurons in a cut at most.
        level: A cut is the smallest set that reaches this share of the best worth found, in
            (0, 1].
        nearest: How many donors a sample may take values from; None for any of them.
        groups: What samples must stay together (one patient, one video), one name for each sample
            of `data`; None when each stands for itself.
        device: "auto", "cpu", "cuda" or "cuda:N".
        seed: At least 0.
        progress: Called as ``progress("selectivity", done, total)``.

    Returns:
        The cuts, and what each does to the samples of each mechanism.

    Raises:
        ModelError: the layer was not captured or searched, or the model fails.
        DataError: fewer than two mechanisms have samples enough, too few samples are predicted as
            another class, or `data` is not what `acts` came from.
        SettingsError: a setting is out of range, or no neuron of the layer is critical.

    Source: values from other samples are resampling ablation (Chan et al., 2022, "Causal
    scrubbing"); the share of samples whose prediction changes is measured as in `ablate`.
    """
    at = _layer(acts, crit, mech, layer)
    _check_numbers({"samples": samples, "most": most}, level, nearest)
    check_seed(seed)
    choose, measure, left = halves(mech, samples, groups, seed, acts.n_samples)
    candidates = _candidates(acts, crit, at, choose)
    looked_at = np.unique(choose.labels).tolist()
    found: dict[int, Found] = {}

    def tell(done: int) -> None:
        if progress is not None:
            progress("selectivity", done, len(looked_at) + 1)

    with evaluation_mode(model, device) as place:
        donors, bank = recorded_donors(model, data, acts, crit.target, at, nearest, place, seed)

        def swapping(part: Part) -> Swapping:
            run = LayerRun(model, data, acts, at, part.rows, place)
            return Swapping(run, acts, crit.target, at, donors, bank, seed)

        search = CutSearch(swapping(choose).shift, choose.labels, candidates.tolist())
        for mechanism in looked_at:
            found[mechanism] = search.find(mechanism, most, level)
            tell(len(found))
        table = _measured(swapping(measure), measure, found, seed)
        tell(len(found) + 1)
    none = np.zeros(0, dtype=np.int64)
    cuts = [found[m].neurons if m in found else none for m in range(mech.n_mechanisms)]
    kept = np.unique(np.concatenate(cuts))
    return Selectivity(
        target=crit.target,
        layer=at,
        cuts=tuple(cuts),
        messages=tuple(_message(m, found, left, most) for m in range(mech.n_mechanisms)),
        table=table,
        path=pd.concat([one.path for one in found.values()], ignore_index=True),
        chosen_on=choose.rows,
        measured_on=measure.rows,
        settings={
            "samples": samples,
            "most": most,
            "level": level,
            "nearest": nearest,
            "seed": seed,
            "candidates": len(candidates),
            "pool": acts.pool,
            "meaning": meaning_of(acts.outputs),
        },
        layout=acts.layouts[at],
        donors=donors,
        neurons=kept,
        maps=bank.of(kept, np.arange(len(donors.positions))).cpu().numpy(),
    )


def _layer(acts: Activations, crit: Critical, mech: Mechanisms, layer: str | None) -> str:
    if mech.target != crit.target:
        raise SettingsError(
            f"The mechanisms are those of class {mech.target}, the critical neurons those of class "
            f"{crit.target}. Pass both of one class."
        )
    if layer is None and not mech.layers:
        raise DataError(f"There are no mechanisms to cut. {mech.message}")
    at = mech.layers[-1] if layer is None else layer
    if at not in acts.layers:
        raise ModelError(f"Layer '{at}' was not captured. {near_names(at, acts.layers)}")
    if not len(crit.neurons(at)):
        raise SettingsError(
            f"Layer '{at}' has no critical neuron, so there is nothing to cut. Choose another: "
            f"{', '.join(name for name in crit.layers if len(crit.neurons(name))) or 'none has'}."
        )
    return at


def _check_numbers(numbers: Mapping[str, object], level: object, nearest: object) -> None:
    if nearest is not None:
        numbers = {**numbers, "nearest": nearest}
    for name, value in numbers.items():
        if not is_whole(value) or value < 1:
            raise SettingsError(f"{name} is {value!r}. Pass a whole number of at least 1.")
    if not is_real(level) or not 0 < level <= 1:
        raise SettingsError(f"level is {level!r}. Pass a number above 0 and at most 1.")


def _candidates(
    acts: Activations, crit: Critical, layer: str, choose: Part
) -> Int[np.ndarray, " candidates"]:
    """The critical neurons; of very many, those whose means differ most between mechanisms."""
    critical = crit.neurons(layer)
    values = acts.matrix(layer, rows=choose.rows)[:, critical].astype(float)
    means = np.array([values[choose.labels == m].mean(axis=0) for m in np.unique(choose.labels)])
    spread = values.std(axis=0)
    apart = np.where(spread > 0, np.ptp(means, axis=0) / np.where(spread > 0, spread, 1.0), 0.0)
    return critical[np.argsort(-apart, kind="stable")[:CANDIDATES]]


def _measured(
    swapping: Swapping, measure: Part, found: Mapping[int, Found], seed: int
) -> pd.DataFrame:
    """What each cut does to the samples of each mechanism; see `Selectivity.table`."""
    rows = []
    for cut, one in found.items():
        if not len(one.neurons):
            continue
        lost, changed, shift = swapping.losses(np.sort(one.neurons), MEASURE_DRAWS)
        for mechanism in found:
            own = measure.labels == mechanism
            units = measure.units[own]
            random = generator(seed, "selectivity interval", cut, mechanism)
            loss = interval(lost[own], units, random)
            share = interval(changed[own], units, random, share=True)
            rows.append(
                (
                    *(cut, mechanism, len(one.neurons), int(own.sum())),
                    float(swapping.probability[own].mean()),
                    *(float(lost[own].mean()), *loss),
                    *(float(changed[own].mean()), *share),
                    float(shift[own].mean()),
                )
            )
    return pd.DataFrame(rows, columns=list(TABLE_COLUMNS))


def _message(mechanism: int, found: Mapping[int, Found], left: Mapping[int, str], most: int) -> str:
    if mechanism in left:
        return left[mechanism]
    if len(found[mechanism].neurons):
        return ""
    return (
        f"No set of up to {most} critical neurons moved its samples more than it harmed those of "
        "another mechanism."
    )
