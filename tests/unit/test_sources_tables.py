"""Tables beside the samples: how rows find their samples, and how each slip is answered."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from neucept.errors import DataError, InputError, StorageError
from neucept.sources import column_of, read_table, rows_of_samples, table_of

IDS = ("a", "b", "007")


def refused(table: object, ids: tuple[str, ...] = IDS) -> str:
    with pytest.raises(DataError) as caught:
        rows_of_samples(table, ids)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("end", ["csv", "CSV", "parquet"])
def test_a_table_is_read_as_it_was_written(tmp_path: Path, end: str) -> None:
    table = pd.DataFrame({"id": ["007", "b", "a"], "age": [61.0, np.nan, 50.5], "sex": list("mfm")})
    path = tmp_path / f"patients.{end}"
    table.to_parquet(path) if end == "parquet" else table.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_table(path), table)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_bytes("\ufeffid,näme\n007,x\n".encode())
    assert read_table(path).to_dict("list") == {"id": ["007"], "näme": ["x"]}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("table.xlsx", b"x", r"of no known kind. Name a file that ends in \.csv or \.parquet"),
        ("table.csv", b"", "cannot be read as csv: No columns to parse"),
        ("table.csv", b"a,b\n1,2\n3,4,5\n", "cannot be read as csv: .*Expected 2 fields"),
        ("table.csv", b"a,b\n\xff\xfe,2\n", "cannot be read as csv: .*utf-8"),
        ("table.csv", b"a,b\n", "has no rows"),
        ("table.parquet", b"not one", "cannot be read as parquet"),
    ],
)
def test_a_bad_file_is_named_in_one_line(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_table(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"no metadata file '.*none\.csv'"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=r"folder\.csv"):
        read_table(tmp_path / "folder.csv")


def test_rows_find_their_samples_by_id_by_position_by_index_or_by_order() -> None:
    wanted = pd.DataFrame({"age": [1, 2, 3]})
    by_id = pd.DataFrame({"age": [3, 1, 2], "id": ["007", "a", "b"]})
    by_position = pd.DataFrame({"position": [2, 0, 1], "age": [3, 1, 2]})
    both = by_id.assign(position=[0, 1, 2])
    for table in (by_id, by_position, both, by_id.set_index("id"), wanted):
        pd.testing.assert_frame_equal(rows_of_samples(table, IDS), wanted)


def test_ids_and_positions_may_come_as_numbers() -> None:
    ids = ("0", "1", "2")
    for values in ([2, 0, 1], [2.0, 0.0, 1.0], ["2", "0", "1"]):
        for name in ("id", "position"):
            table = pd.DataFrame({name: values, "age": [3, 1, 2]})
            assert rows_of_samples(table, ids)["age"].tolist() == [1, 2, 3]


def test_samples_of_one_id_share_its_row() -> None:
    table = pd.DataFrame({"id": ["a", "b"], "age": [1, 2]})
    assert rows_of_samples(table, ("b", "a", "b"))["age"].tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([1, 2], "metadata is a list. Pass a pandas DataFrame"),
        (pd.DataFrame([[1, 2]] * 3, columns=["x", "x"]), "two columns 'x'"),
        (pd.DataFrame({"x": [1, 2]}), "has 2 rows, there are 3 samples"),
        (pd.DataFrame({"id": ["a", "b", "a"]}), "more than one row of id 'a'"),
        (pd.DataFrame({"id": ["a", "b", "7"]}), "1 of 3 rows .* no sample, .* id '7'"),
        (pd.DataFrame({"id": ["a", "b"]}), "1 of 3 samples have no row .* the first is '007'"),
        (pd.DataFrame({"id": ["a", None, "b"]}), "Row 2 of the metadata has no id"),
        (pd.DataFrame({"position": [0, 1, 3]}), "no sample, the first has position '3'"),
        (pd.DataFrame({"position": [0, 1, 1.5]}), "no sample, the first has position '1.5'"),
        (pd.DataFrame({"x": [1, 2, 3]}, index=["a", "b", "c"]), "no sample, the first has id 'c'"),
    ],
)
def test_rows_that_do_not_fit_are_answered_in_one_line(table: object, said: str) -> None:
    assert re.search(said, refused(table))


def test_a_column_that_is_not_there_is_answered_with_those_that_are() -> None:
    table = pd.DataFrame({"patient": [1], "age": [2]})
    assert column_of(table, "patient").tolist() == [1]
    with pytest.raises(DataError, match="no column 'patent' for groups. Did you mean 'patient'"):
        column_of(table, "patent")
    with pytest.raises(DataError, match="but there is no metadata"):
        column_of(None, "patient")


def test_a_dataset_may_bring_its_table_along() -> None:
    data = TensorDataset(torch.zeros(2, 1))
    assert table_of(data) is None
    data.metadata = "no table"  # type: ignore[attr-defined]
    assert table_of(data) is None
    data.metadata = pd.DataFrame({"age": [1, 2]})  # type: ignore[attr-defined]
    assert table_of(data) is data.metadata  # type: ignore[attr-defined]
    assert table_of(DataLoader(data)) is data.metadata  # type: ignore[attr-defined]
