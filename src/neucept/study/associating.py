"""The stage that asks which metadata go with the mechanisms."""

from __future__ import annotations

import pandas as pd

from neucept.mechanisms import Mechanisms, associate
from neucept.mechanisms.metadata import corrected
from neucept.study.metadata import Metadata
from neucept.study.stages import Stages

ASSOCIATIONS, ASSOCIATIONS_TABLE = "associations", "associations.parquet"
"""The stage, and what it leaves."""


def associations(stages: Stages, mech: Mechanisms, known: Metadata, seed: int) -> None:
    """Write ``associations.parquet``, or remove it where the study has no metadata any more.

    Args:
        stages: Of the study; the mechanisms among them.
        mech: The mechanisms, found with the same groups.
        known: The metadata.
        seed: Draws the permutations.

    Raises:
        DataError: a column cannot be tested at all.
    """
    table = known.table
    if table is None:
        stages.place.forget(ASSOCIATIONS, ASSOCIATIONS_TABLE)
        return

    def compute() -> None:
        stages.place.write_table(ASSOCIATIONS, _tested(stages, mech, table, seed))

    chosen = {"metadata": known.table_key, "seed": seed}
    stages.stage(ASSOCIATIONS, "mechanisms", chosen, (ASSOCIATIONS_TABLE,), compute)


def _tested(stages: Stages, mech: Mechanisms, table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """What `associate` says of the whole table, column by column so that it can say how far."""
    columns = list(table.columns)
    if mech.n_mechanisms < 2 or not columns:
        return associate(mech, table, seed=seed)
    frames = []
    stages.told(ASSOCIATIONS, 0, len(columns))
    for done, name in enumerate(columns):
        frames.append(associate(mech, table[[name]], seed=seed))
        stages.told(ASSOCIATIONS, done + 1, len(columns))
    found = pd.concat(frames, ignore_index=True)
    return found.assign(q_value=corrected(found["p_value"].to_numpy(dtype=float)))
