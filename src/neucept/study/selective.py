"""The causal check: for each mechanism, the cut that takes it and spares the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from neucept.activations import Activations
from neucept.critical import Critical
from neucept.errors import DataError
from neucept.evaluation import Selectivity, selectivity
from neucept.mechanisms import Mechanisms
from neucept.runtime import read_arrays, write_arrays
from neucept.study.contents import LATER
from neucept.study.metadata import Metadata
from neucept.study.settings import StudySettings
from neucept.study.stages import Stages

SELECTIVITY = "selectivity"
TABLE, RECORD = "selectivity.parquet", "selectivity.npz"
"""What the stage leaves: the matrix, and the cuts with what stands in for their neurons."""


def cuts(
    stages: Stages,
    model: nn.Module,
    data: Any,
    acts: Activations,
    crit: Critical,
    mech: Mechanisms,
    beside: Metadata,
    settings: StudySettings,
) -> dict[str, Any] | None:
    """Find and measure the cuts; or remove them where the study has none any more.

    Args:
        stages: Of the study; the mechanisms among them.
        model: The network.
        data: The samples.
        acts: What was recorded.
        crit: The critical neurons.
        mech: The mechanisms.
        beside: Says which samples belong together.
        settings: Of the study.

    Returns:
        What ``study.json`` says of them: layer, message (why there are none), and cuts, one per
        mechanism, each with neurons, message and reach. None where they are switched off or there
        are fewer than two mechanisms.
    """
    if not settings.selectivity or mech.n_mechanisms < 2:
        stages.place.forget(SELECTIVITY, TABLE, RECORD)
        return None
    path = stages.place.place / RECORD

    def compute() -> None:
        table = pd.DataFrame({column: [] for column in LATER[SELECTIVITY]})
        try:
            found = selectivity(
                model,
                data,
                acts,
                crit,
                mech,
                samples=settings.selectivity,
                groups=beside.groups,
                device=settings.device,
                seed=settings.seed,
                progress=stages.progress,
            )
        except DataError as error:
            # Too few samples to choose a cut, or to stand in for it: an answer, and no failure.
            arrays = {"message": np.array(str(error))}
        else:
            table, arrays = found.table, found.to_arrays()
        stages.place.write_table(SELECTIVITY, table)
        write_arrays(path, arrays)

    chosen = {"samples": settings.selectivity, "seed": settings.seed}
    stages.stage(SELECTIVITY, "mechanisms", chosen, (TABLE, RECORD), compute)
    return _entry(read_arrays(path))


def _entry(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    if "message" in arrays:
        return {"layer": "", "message": str(arrays["message"]), "cuts": []}
    found = Selectivity.from_arrays(arrays)
    made = [
        {"neurons": cut.neurons.tolist(), "message": cut.message, "reach": float(cut.reach)}
        for cut in found.cuts
    ]
    return {"layer": found.layer, "message": "", "cuts": made}
