"""From the records of the stages to the tables and entries of the study folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from neucept.activations import Activations, Target, predicted_as
from neucept.critical import CLASS_SCORE, Critical
from neucept.mechanisms import Mechanisms


def target_entry(target: Target, classes: Sequence[str] | None) -> dict[str, Any]:
    """What ``study.json`` says of the target: the class and, of a contrast, the one against it."""

    def named(index: int) -> dict[str, Any]:
        return {"index": index, "name": str(classes[index]) if classes else f"class {index}"}

    against = named(target[1]) if isinstance(target, tuple) else None
    return {**named(predicted_as(target)), "against": against}


def near_entry(crit: Critical) -> dict[str, Any] | None:
    """What ``study.json`` says of a local study; None of another."""
    around = crit.around
    if around is None:
        return None
    said = ("position", "id", "predicted", "spread", "message")
    return {**{name: getattr(around, name) for name in said}, "samples": len(around.rows)}


def mechanism_tables(mech: Mechanisms) -> dict[str, pd.DataFrame]:
    """The tables ``mechanisms``, ``signature``, ``choice`` and ``tree``.

    Returns:
        By name; prototypes are sample positions, written as a JSON list.
    """
    prototypes = [json.dumps([int(i) for i in rows]) for rows in mech.prototypes]
    return {
        "mechanisms": mech.table.assign(prototypes=prototypes),
        "signature": mech.signature,
        "choice": mech.choice,
        "tree": mech.tree,
    }


def sample_table(acts: Activations, mech: Mechanisms) -> pd.DataFrame:
    """One row per sample that was grouped: those predicted as the target, or some of them."""
    rows = mech.samples
    known = np.full(len(rows), -1) if acts.labels is None else acts.labels[rows]
    return pd.DataFrame(
        {
            "position": rows,
            "id": [acts.ids[i] for i in rows],
            "prediction": acts.predictions[rows],
            "label": known,
            "mechanism": mech.labels,
            "membership": _own(mech),
            "typicality": mech.typicality,
            "stability": mech.sample_stability,
            "order": mech.order,
            "leaf": mech.leaves,
            "map_x": mech.map[:, 0],
            "map_y": mech.map[:, 1],
        }
    )


def _own(mech: Mechanisms) -> np.ndarray:
    """How much each sample belongs to its mechanism; NaN where there is none."""
    if not mech.n_mechanisms:
        return np.full(len(mech.samples), np.nan)
    return np.asarray(mech.membership[np.arange(len(mech.samples)), mech.labels])


def layer_entries(acts: Activations, crit: Critical) -> list[dict[str, Any]]:
    """What ``study.json`` says of each layer, in order of execution."""
    entries = []
    for layer in crit.layers:
        rows = crit.table[crit.table["layer"] == layer]
        entries.append(
            {
                "name": layer,
                "kind": acts.kinds[layer],
                "neurons": len(rows),
                "selected": int(rows["selected"].sum()),
                "message": crit.messages[layer],
                "promise": promise(crit, layer),
                "core": core(crit, layer),
                **crit.settings[layer],
            }
        )
    return entries


def core(crit: Critical, layer: str) -> dict[str, Any] | None:
    """The core of a layer: its neurons, the share asked for and the share kept; None without."""
    curve = crit.kept[crit.kept["layer"] == layer]
    if curve.empty:
        return None
    neurons = crit.core(layer, crit.search.keep)
    kept = curve.loc[curve["size"] == len(neurons), "kept"]
    return {
        "neurons": neurons.tolist(),
        "keep": crit.search.keep,
        "kept": float(kept.to_numpy()[0]),
    }


def promise(crit: Critical, layer: str) -> str:
    """What is promised about the neurons named in one layer, in one sentence."""
    level = f"{100 * crit.search.fdr:g} %"
    above = crit.settings[layer]["target_layer"]
    if above == CLASS_SCORE or crit.search.split:
        silent = f"it says nothing more about {crit.settings[layer]['target']}"
    else:
        silent = f"it says nothing more about any neuron of {above}"
    return (
        f"Of the neurons named, at most {level} are expected to be wrong (a group counts as one); "
        f"wrong means that, given the rest of the layer, {silent}."
    )
