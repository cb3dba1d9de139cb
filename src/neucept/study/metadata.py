"""What else is known of a study's samples, and which of them belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from neucept.activations import Activations, Target, predicted_as
from neucept.errors import DataError
from neucept.mechanisms.together import check_together, group_codes
from neucept.runtime import digest
from neucept.sources import column_of, rows_of_samples


@dataclass(frozen=True)
class Metadata:
    """The metadata of a study.

    Attributes:
        table: One row per sample, in their order, without the column of groups; None where no
            metadata was given.
        groups: Which samples belong together, numbered from 0; None where each stands alone.
        grouped_by: The column that says so; "" where ids were given, or nothing.
    """

    table: pd.DataFrame | None = field(repr=False)
    groups: Int[np.ndarray, " samples"] | None = field(repr=False)
    grouped_by: str = ""

    @property
    def groups_key(self) -> dict[str, str]:
        """A name for the groups; nothing where each sample stands alone."""
        return {} if self.groups is None else {"groups": digest(self.groups)}

    @property
    def table_key(self) -> str:
        """A name for the content of the table."""
        if self.table is None:
            return ""
        columns = []
        for name, values in self.table.items():
            present = values.notna().to_numpy()
            texts = values[present].astype(str).tolist()
            columns.append([str(name), str(values.dtype), digest(present), digest(texts)])
        return digest(columns)

    def entry(self) -> dict[str, Any] | None:
        """What ``study.json`` says of it; None where there is none."""
        if self.table is None and self.groups is None:
            return None
        return {
            "columns": None if self.table is None else [str(name) for name in self.table.columns],
            "groups": None if self.groups is None else int(self.groups.max()) + 1,
            "grouped_by": self.grouped_by,
        }


def check_given(metadata: object, groups: str | Sequence[object] | np.ndarray | None) -> None:
    """Refuse what fits no samples, before any of them is read.

    Raises:
        DataError: metadata is no table, or has no such column.
    """
    if metadata is not None and not isinstance(metadata, pd.DataFrame):
        raise DataError(f"metadata is a {type(metadata).__name__}. Pass a pandas DataFrame.")
    if isinstance(groups, str):
        column_of(metadata, groups)


def metadata_of(
    acts: Activations,
    target: Target,
    metadata: pd.DataFrame | None,
    groups: str | Sequence[object] | np.ndarray | None,
) -> Metadata:
    """Fit what the user gave to the samples, and refuse what no stage could use.

    Args:
        acts: What was recorded; gives the names of the samples.
        target: The class studied.
        metadata: As `run_study` takes it.
        groups: As `run_study` takes it.

    Raises:
        DataError: rows do not fit the samples, there is no such column, a sample has no group, or
            the samples predicted as the class are of too few groups.
    """
    table = None if metadata is None else rows_of_samples(metadata, acts.ids)
    if groups is None:
        return Metadata(table, None)
    name = groups if isinstance(groups, str) else ""
    given = column_of(table, name).tolist() if name else groups
    codes = group_codes(given, acts.n_samples)
    own = np.flatnonzero(acts.predictions == predicted_as(target))
    check_together(codes, acts.n_samples, own, predicted_as(target))
    return Metadata(
        None if table is None else table.drop(columns=name, errors="ignore"), codes, name
    )
