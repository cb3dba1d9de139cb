"""From a table of what else is known of the samples to one row per sample, in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from neucept.errors import DataError, StorageError, near_names

ID, POSITION = "id", "position"
"""Columns that say which sample a row is of; a table with neither has one row each, in order."""


def _csv(path: Path) -> pd.DataFrame:
    # Ids as they are written: 007 stays 007.
    return pd.read_csv(path, dtype={ID: str}, encoding="utf-8-sig", low_memory=False)


READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = MappingProxyType(
    {".csv": _csv, ".parquet": pd.read_parquet}
)
"""How a table is read, by the end of its file's name."""


def read_table(path: Path | str) -> pd.DataFrame:
    """Read a table of metadata.

    Args:
        path: A ``.csv`` (UTF-8, its first line the names of the columns) or ``.parquet`` file.

    Returns:
        The table as it is in the file.

    Raises:
        DataError: the file is of another kind, empty, or holds no table.
        StorageError: it is missing or cannot be read.
    """
    place = Path(path)
    reader = READERS.get(place.suffix.lower())
    if reader is None:
        raise DataError(
            f"The metadata '{place}' is of no known kind. Name a file that ends in "
            f"{' or '.join(READERS)}."
        )
    if not place.is_file():
        raise StorageError(f"There is no metadata file '{place}'. Check its path.")
    try:
        table = reader(place)
    except OSError as error:
        # pyarrow calls a file that is no Parquet an OSError without a number.
        if error.errno is None:
            raise _unreadable(place, error) from error
        raise StorageError(
            f"Cannot read the metadata file '{place}': {error.strerror or error}."
        ) from error
    except ValueError as error:
        raise _unreadable(place, error) from error
    if table.empty:
        raise DataError(f"The metadata file '{place}' has no rows. Give one for each sample.")
    return table


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(
        f"The metadata file '{path}' cannot be read as {path.suffix.lower()[1:]}: {reason}. "
        "Save it anew, with the names of the columns first."
    )


def table_of(data: object) -> pd.DataFrame | None:
    """The metadata that a dataset brings along.

    Args:
        data: A dataset, or a DataLoader of one.

    Returns:
        Its ``metadata`` where that is a pandas DataFrame, else None.
    """
    table = getattr(getattr(data, "dataset", data), "metadata", None)
    return table if isinstance(table, pd.DataFrame) else None


def rows_of_samples(table: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """One row for each sample, in their order.

    Rows say which sample they are of in a column ``id`` (its name), or else in a column
    ``position`` (its place in the data, from 0), or else in an index of ids; with none of these
    they must be in the order of the samples.

    Args:
        table: The metadata.
        ids: The name of each sample.

    Returns:
        The table in the samples' order, with a plain index and without `id` and `position`.

    Raises:
        DataError: it is no table, two columns have one name, a sample has no row or two, or a
            row is of no sample.
    """
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"metadata is a {type(table).__name__}. Pass a pandas DataFrame.")
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise DataError(f"metadata has two columns '{twice}'. Rename one of them.")
    if ID in table:
        found = table.iloc[_places(table[ID], list(ids), "id")]
    elif POSITION in table:
        found = table.iloc[_places(table[POSITION], list(map(str, range(len(ids)))), "position")]
    elif not table.index.equals(pd.RangeIndex(len(table))):
        found = table.iloc[_places(table.index.to_series(), list(ids), "id")]
    elif len(table) == len(ids):
        found = table
    else:
        raise DataError(
            f"metadata has {len(table)} rows, there are {len(ids)} samples. Give one row for each, "
            "in their order, or name the samples in a column 'id' or 'position'."
        )
    return found.drop(columns=[c for c in (ID, POSITION) if c in found]).reset_index(drop=True)


def _places(names: pd.Series[Any], samples: list[str], what: str) -> np.ndarray:
    """Which row each sample has."""
    missing = names.isna().to_numpy()
    if missing.any():
        raise DataError(
            f"Row {int(missing.argmax()) + 1} of the metadata has no {what}. Give it one, or "
            "remove the row."
        )
    # A whole number comes as 3.0 where a column had gaps.
    text = [_name(value) for value in names]
    rows: dict[str, int] = {}
    for place, name in enumerate(text):
        if name in rows:
            raise DataError(
                f"metadata has more than one row of {what} '{name}'. Keep one row for each sample."
            )
        rows[name] = place
    known = set(samples)
    unknown = [name for name in text if name not in known]
    if unknown:
        raise DataError(
            f"{len(unknown)} of {len(text)} rows of the metadata are of no sample, the first has "
            f"{what} '{unknown[0]}'. {near_names(unknown[0], samples)} Remove those rows, or "
            f"rename the column where it is no {what} of the samples."
        )
    without = [name for name in samples if name not in rows]
    if without:
        raise DataError(
            f"{len(without)} of {len(samples)} samples have no row in the metadata, the first is "
            f"'{without[0]}'. Give each sample a row; its values may be missing."
        )
    return np.array([rows[name] for name in samples], dtype=np.int64)


def _name(value: object) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def column_of(table: pd.DataFrame | None, name: str) -> pd.Series[Any]:
    """A column of the metadata by its name.

    Args:
        table: The metadata, or None where there is none.
        name: The column.

    Raises:
        DataError: there is no such column, or no metadata.
    """
    if table is None:
        raise DataError(
            f"groups is '{name}', the name of a column, but there is no metadata. Give metadata "
            "with this column, or one id for each sample."
        )
    if name not in table:
        raise DataError(
            f"The metadata has no column '{name}' for groups. {near_names(name, table.columns)}"
        )
    return table[name]
