"""What `explain` and `compare` find, made up from a seed, for tests of their pages."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
from planted_study import PlantedStudy

from neucept.study.comparing import FIRST, SECOND, Comparison
from neucept.study.explaining import Explanation


def planted_explanation(
    study: PlantedStudy,
    positions: Sequence[int] | None = None,
    *,
    recorded: bool = True,
    of_class: bool = True,
    typicality: Sequence[float] | None = None,
    label: int = 0,
    seed: int = 0,
) -> Explanation:
    """An explanation of samples of a planted study, by the neurons of its signature.

    Args:
        study: The study.
        positions: Which samples; all that it explains by default.
        recorded: Whether they are its own.
        of_class: Whether they are predicted as the class.
        typicality: One per sample; random by default.
        label: Of all samples; -1 when not known.
        seed: Everything else derives from it.
    """
    rng = np.random.default_rng(seed)
    own = study.samples.set_index("position")
    rows = np.array(own.index if positions is None else positions)
    known = own.reindex(rows)
    groups = max(len(study.mechanisms), 1)
    mechanism = known["mechanism"].fillna(0).astype(int).to_numpy()
    rival = (mechanism + 1) % groups if groups > 1 else np.full(len(rows), -1)
    usual = rng.random(len(rows)) if typicality is None else np.array(typicality, dtype=float)
    ids = known["id"].fillna(pd.Series([str(k) for k in rows], index=rows)).tolist()
    ratio = rng.normal(4, 1, len(rows)) if groups > 1 else np.full(len(rows), np.nan)
    table = pd.DataFrame(
        {
            "position": rows,
            "id": ids,
            "prediction": 0 if of_class else 1,
            "label": label,
            "confidence": rng.uniform(0.6, 1, len(rows)),
            "of_class": of_class,
            "mechanism": mechanism,
            "membership": known["membership"].fillna(0.9).to_numpy(),
            "next": rival,
            "log_ratio": ratio,
            "start": 0.5 if groups > 1 else np.nan,
            "typicality": usual,
            "atypical": usual <= 0.05,
            "distance": rng.gamma(5, 2, len(rows)),
            "own": recorded,
        }
    )
    return Explanation(
        target=0,
        layers=tuple(study.info["mechanisms"]["layers"]),
        level=0.05,
        table=table,
        neurons=_neurons(rng, study, table),
        prototypes=_prototypes(study, table),
        recorded=recorded,
    )


def _neurons(rng: np.random.Generator, study: PlantedStudy, table: pd.DataFrame) -> pd.DataFrame:
    medians = study.signature.set_index(["mechanism", "layer", "neuron"])["median"]
    rows = []
    for one in table.itertuples():
        told = study.signature[study.signature["mechanism"] == one.mechanism].head(4)
        for row in told.itertuples():
            rival = medians.get((one.next, row.layer, row.neuron), np.nan)
            rows.append(
                {
                    "position": one.position,
                    "id": one.id,
                    "layer": row.layer,
                    "neuron": row.neuron,
                    "value": row.median + rng.normal(),
                    "usual": row.median,
                    "usual_next": rival,
                    "nats": rng.normal(1, 1) if one.next >= 0 else np.nan,
                    "distance": rng.gamma(1, 1),
                }
            )
    return pd.DataFrame(rows)


def _prototypes(study: PlantedStudy, table: pd.DataFrame) -> pd.DataFrame:
    ids = dict(zip(study.samples["position"], study.samples["id"], strict=True))
    held = {r.mechanism: json.loads(r.prototypes) for r in study.mechanisms.itertuples()}
    rows = [
        {
            "position": one.position,
            "id": one.id,
            "rank": rank,
            "prototype": prototype,
            "prototype_id": ids[prototype],
            "distance": float(rank),
        }
        for one in table.itertuples()
        for rank, prototype in enumerate(held[one.mechanism][:3], start=1)
    ]
    return pd.DataFrame(rows)


FATES = (
    (FIRST, 0, "persists", (1,), 0.97),
    (FIRST, 1, "splits", (0, 2), 0.95),
    (FIRST, 2, "vanishes", (1,), 0.2),
    (SECOND, 0, "split off", (1,), 0.95),
    (SECOND, 1, "persists", (0,), 0.97),
    (SECOND, 2, "split off", (1,), 0.95),
    (SECOND, 3, "appears", (2,), 0.1),
)
"""Study, mechanism, status, partners, share with a mechanism in the other study."""


def planted_comparison(
    first: PlantedStudy, fates: Sequence[tuple[str, int, str, tuple[int, ...], float]] = FATES
) -> Comparison:
    """A comparison of a planted study of three mechanisms with one of four."""
    mechanisms = pd.DataFrame(
        [
            {
                "study": study,
                "mechanism": mechanism,
                "size": 40,
                "stability": 0.3 if status == "unstable" else 0.9,
                "stays": stays,
                "status": status,
                "partners": json.dumps(list(partners)),
                "overlap": 0.9,
                "low": 0.85,
                "high": 0.95,
                "needed": 0.8,
                "chance": 0.3,
            }
            for study, mechanism, status, partners, stays in fates
        ]
    )
    counts = np.array([[1, 70, 0, 0, 2], [30, 0, 25, 0, 0], [0, 4, 0, 0, 16], [0, 0, 0, 9, 120]])
    rows = first.samples["position"].to_numpy()[:20]
    samples = pd.DataFrame(
        {
            "id": first.samples["id"].to_numpy()[:20],
            "position_first": rows,
            "position_second": rows,
            "label": 0,
            "prediction_first": "even",
            "prediction_second": ["even", "odd"] * 10,
            "changed": [False, True] * 10,
            "mechanism_first": [0, 0] * 10,
            "mechanism_second": [0, -1] * 10,
            "moved": [True, False] * 10,
        }
    )
    return Comparison(
        target="even",
        n_common=277,
        n_both=130,
        same_prediction=0.9,
        ami=0.81,
        ami_chance=0.001,
        contingency=pd.DataFrame(counts, index=[0, 1, 2, -1], columns=[0, 1, 2, 3, -1]),
        mechanisms=mechanisms,
        samples=samples,
    )
