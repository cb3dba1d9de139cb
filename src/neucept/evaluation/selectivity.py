"""The causal check: cuts that take one mechanism's predictions away and spare the others'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from torch import nn

from neucept.activations import Activations, MapBank, evaluation_mode, meaning_of, predicted_as
from neucept.critical import Critical
from neucept.errors import DataError, ModelError, SettingsError, near_names
from neucept.evaluation.cutrecord import Cut, Selectivity
from neucept.evaluation.cutsearch import CutSearch, Found
from neucept.evaluation.cutting import LayerRun
from neucept.evaluation.donors import Donors
from neucept.evaluation.halves import Part, halves, interval
from neucept.evaluation.swapping import Swapping, recorded_donors
from neucept.mechanisms import Mechanisms
from neucept.runtime import Progress, check_seed, derived_seed, generator, is_real, is_whole

NEAREST = 5
"""Donors that a sample may take values from, unless told otherwise."""

SPARE = 0.05
"""Probability that a cut may take from the others, unless told otherwise."""

NOTHING = np.zeros(0, dtype=np.int64)

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
    most: int | None = None,
    level: float = 0.9,
    spare: float = SPARE,
    nearest: int = NEAREST,
    groups: Sequence[object] | np.ndarray | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> Selectivity:
    """Find, for each mechanism, the fewest neurons whose cut takes its predictions and no others'.

    A neuron that is cut takes the value it has in a donor: a sample outside the mechanism, one of
    those most alike in the neurons that are not cut. Up to half of the donors are predicted as the
    class. All cut neurons take theirs from the same donor; so they say what they say in such
    samples without the mechanism, in values and maps that the network has met.

    Half of each mechanism's samples choose the cut: the fewest neurons that take the most of its
    log-odds and probability, among the sets that take hardly any probability from the other
    mechanisms. The other half, which chose nothing, measure it. Where a second road leads to the
    class (a marked image that shows the class as well), a cut may take log-odds and no prediction:
    `moved` shows it, and `Selectivity.apply` on samples without the second road.

    Args:
        model: The network that `acts` was captured from; left exactly as found.
        data: The samples that `acts` was captured from.
        acts: Captured activations.
        crit: Critical neurons; only these are cut.
        mech: The mechanisms of the same class; at least two.
        layer: Whose neurons are cut; None for the layer that the mechanisms were found in (the
            last of several).
        samples: Samples of each mechanism at most that choose, and as many that measure.
        most: Neurons in a cut at most; None for half of the layer's critical ones.
        level: A cut is the smallest set found that reaches this share of what the best one does:
            mean of the share of the log-odds and of the probability taken; in (0, 1].
        spare: Mean probability of the target that a cut may take from any other mechanism, on the
            samples that choose; at least 0, below 1.
        nearest: How many donors a sample may take values from.
        groups: What samples must stay together (one patient, one video), one name for each sample
            of `data`; None when each stands for itself.
        device: "auto", "cpu", "cuda" or "cuda:N".
        seed: At least 0.
        progress: Called as ``progress("selectivity", done, total)``.

    Returns:
        The cuts, and what each does to the samples of each mechanism.

    Raises:
        ModelError: the layer was not captured or searched, or the model fails.
        DataError: fewer than two mechanisms have samples enough, too few samples can be donors, or
            `data` is not what `acts` came from.
        SettingsError: a setting is out of range, or no neuron of the layer is critical.

    Source: values from other samples are resampling ablation (Chan et al., 2022, "Causal
    scrubbing"); near ones keep to the law given the other neurons, as "resample" of `ablate`.
    """
    at = _layer(acts, crit, mech, layer)
    whole: dict[str, Any] = {"samples": samples, "nearest": nearest}
    _check_numbers(whole if most is None else {**whole, "most": most}, level, spare)
    check_seed(seed)
    choose, measure, left = halves(mech, samples, groups, seed, acts.n_samples)
    candidates = _candidates(acts, crit, at, choose).tolist()
    limit = max(1, len(candidates) // 2) if most is None else most
    asked = {**whole, "most": limit, "level": level, "spare": spare, "seed": seed}
    asked["candidates"] = len(candidates)
    cuts = [Cut(NOTHING, left.get(m, "")) for m in range(mech.n_mechanisms)]
    paths, tables = [], [pd.DataFrame({name: [] for name in TABLE_COLUMNS})]
    looked_at = np.unique(choose.labels).tolist()
    with evaluation_mode(model, device) as place:
        runs = [LayerRun(model, data, acts, at, part.rows, place) for part in (choose, measure)]
        for done, mechanism in enumerate(looked_at):
            inside = mech.samples[mech.labels == mechanism]
            own = derived_seed(seed, "donors", mechanism)
            donors, bank = recorded_donors(model, data, acts, at, inside, nearest, place, own)
            choosing, measuring = (
                Swapping(run, acts, predicted_as(crit.target), at, donors, bank, seed)
                for run in runs
            )
            search = CutSearch(choosing.effect, choose.labels, mechanism, candidates)
            found = search.find(limit, level, spare)
            paths.append(found.path)
            cuts[mechanism] = _cut(found, donors, bank, _nothing(limit, spare))
            if len(found.neurons):
                tables.append(_measured(measuring, measure, mechanism, found.neurons, seed))
            if progress is not None:
                progress("selectivity", done + 1, len(looked_at))
    return Selectivity(
        target=predicted_as(crit.target),
        layer=at,
        cuts=tuple(cuts),
        table=pd.concat(tables[1:] or tables, ignore_index=True),
        path=pd.concat(paths, ignore_index=True),
        chosen_on=choose.rows,
        measured_on=measure.rows,
        settings={**asked, "pool": acts.pool, "meaning": meaning_of(acts.outputs)},
        layout=acts.layouts[at],
    )


def _cut(found: Found, donors: Donors, bank: MapBank, nothing: str) -> Cut:
    if not len(found.neurons):
        return Cut(NOTHING, nothing)
    maps = bank.of(found.neurons, np.arange(bank.n_references)).cpu().numpy()
    return Cut(found.neurons, "", found.reach, donors, maps)


def _layer(acts: Activations, crit: Critical, mech: Mechanisms, layer: str | None) -> str:
    if mech.target != predicted_as(crit.target):
        raise SettingsError(
            f"The mechanisms are those of class {mech.target}, the critical neurons those of class "
            f"{predicted_as(crit.target)}. Pass both of one class."
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


def _check_numbers(numbers: Mapping[str, object], level: object, spare: object) -> None:
    for name, value in numbers.items():
        if not is_whole(value) or value < 1:
            raise SettingsError(f"{name} is {value!r}. Pass a whole number of at least 1.")
    if not is_real(level) or not 0 < level <= 1:
        raise SettingsError(f"level is {level!r}. Pass a number above 0 and at most 1.")
    if not is_real(spare) or not 0 <= spare < 1:
        raise SettingsError(f"spare is {spare!r}. Pass a probability of at least 0 and below 1.")


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
    swapping: Swapping, measure: Part, cut: int, neurons: Int[np.ndarray, " cut"], seed: int
) -> pd.DataFrame:
    """What a cut does to the samples of each mechanism; see `Selectivity.table`."""
    lost, changed, shift = swapping.losses(neurons, MEASURE_DRAWS)
    rows = []
    for mechanism in np.unique(measure.labels).tolist():
        own = measure.labels == mechanism
        units = measure.units[own]
        random = generator(seed, "selectivity interval", cut, mechanism)
        loss = interval(lost[own], units, random)
        share = interval(changed[own], units, random, share=True)
        rows.append(
            (
                *(cut, mechanism, len(neurons), int(own.sum())),
                float(swapping.probability[own].mean()),
                *(float(lost[own].mean()), *loss),
                *(float(changed[own].mean()), *share),
                float(shift[own].mean()),
            )
        )
    return pd.DataFrame(rows, columns=list(TABLE_COLUMNS))


def _nothing(most: int, spare: float) -> str:
    return (
        f"No set of up to {most} critical neurons took more from its samples than from another "
        f"mechanism's and left the others all but {spare:g} of their probability."
    )
