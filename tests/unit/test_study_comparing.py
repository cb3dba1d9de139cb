"""Two studies of one class: which samples are the same, and what became of the mechanisms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neucept.activations import Activations
from neucept.errors import DataError, StorageError, StudyError
from neucept.study.comparing import compare
from neucept.study.folder import KIND, Study

GROUPS = [0] * 60 + [1] * 40 + [2] * 30 + [-1] * 20
"""The mechanism of each sample; -1 for those predicted as the other class."""


def folder(
    to: Path,
    groups: Sequence[int] = GROUPS,
    ids: Sequence[str] | None = None,
    *,
    stability: float = 0.95,
    data: str = "",
    labels: Sequence[int] | None = None,
    classes: Sequence[str] | None = ("cat", "dog"),
    target: int = 1,
) -> Study:
    """A finished study as its folder tells it, with these mechanisms."""
    group = np.array(groups)
    names = list(ids) if ids is not None else [f"case-{i}" for i in range(len(group))]
    outputs = np.where((group[:, None] >= 0) == (np.arange(2) == target), 3.0, -3.0)
    store = Activations.from_arrays({"fc": np.zeros((len(group), 1))}, outputs, labels, names)
    to.mkdir(parents=True)
    store.save(to / "activations.zarr")
    rows = np.flatnonzero(group >= 0)
    count = group.max() + 1
    pd.DataFrame(
        {
            "position": rows,
            "id": [names[i] for i in rows],
            "prediction": target,
            "label": -1,
            "mechanism": group[rows],
            "membership": 1.0,
            "typicality": 0.5,
            "map_x": 0.0,
            "map_y": 0.0,
        }
    ).to_parquet(to / "samples.parquet")
    pd.DataFrame(
        {
            "mechanism": range(count),
            "size": [int((group == g).sum()) for g in range(count)],
            "share": 0.0,
            "stability": stability,
            "accuracy": np.nan,
            "confidence": 1.0,
            "prototypes": "[]",
        }
    ).to_parquet(to / "mechanisms.parquet")
    info = {
        "kind": KIND,
        "format": 1,
        "finished": True,
        "identity": {"network": str(to), "set of samples": data or str(to), "class": str(target)},
        "stages": {},
        "neucept": "0",
        "name": "tiny",
        "n_samples": len(group),
        "n_predicted": len(rows),
        "target": {"index": target, "name": classes[target] if classes else f"class {target}"},
        "classes": list(classes) if classes else None,
        "layers": [],
        "mechanisms": {"n": int(count), "message": "Nothing varied."},
        "settings": {},
    }
    (to / "study.json").write_text(json.dumps(info))
    return Study.open(to)


def status(found: object, which: str) -> list[str]:
    table = found.mechanisms  # type: ignore[attr-defined]
    return table.loc[table["study"] == which, "status"].tolist()


def test_a_study_beside_itself(tmp_path: Path) -> None:
    study = folder(tmp_path / "a")
    found = compare(study, study)
    assert (found.target, found.n_common, found.n_both) == ("dog", 150, 130)
    assert status(found, "first") == status(found, "second") == ["persists"] * 3
    assert found.mechanisms["partners"].tolist() == ["[0]", "[1]", "[2]"] * 2
    assert found.same_prediction == 1.0
    assert found.ami == pytest.approx(1.0)
    assert found.contingency.loc[-1, -1] == 20
    assert np.diag(found.contingency).tolist() == [60, 40, 30, 20]
    assert not found.samples[["changed", "moved"]].any(axis=None)
    assert len(found.samples) == 130


def test_samples_go_by_id_whatever_their_order(tmp_path: Path) -> None:
    first = folder(tmp_path / "a")
    order = np.random.default_rng(0).permutation(150)[:140]
    names = [f"case-{i}" for i in order]
    second = folder(tmp_path / "b", [GROUPS[i] for i in order], names)
    found = compare(first, second)
    assert found.n_common == 140
    assert status(found, "first") == ["persists"] * 3
    places = found.samples.set_index("id")
    assert (places["position_second"] == [names.index(i) for i in places.index]).all()


def test_what_split_merged_vanished_and_appeared(tmp_path: Path) -> None:
    before = [0] * 60 + [1] * 40 + [2] * 30 + [3] * 30 + [4] * 30 + [-1] * 40
    after = [0] * 35 + [1] * 25 + [2] * 40 + [3] * 60 + [-1] * 30 + [4] * 40
    found = compare(folder(tmp_path / "a", before), folder(tmp_path / "b", after))
    assert status(found, "first") == ["splits", "persists", "merges", "merges", "vanishes"]
    assert status(found, "second") == ["split off", "split off", "persists", "merged", "appears"]
    stays = found.mechanisms.set_index(["study", "mechanism"])["stays"]
    assert stays["first", 4] == stays["second", 4] == 0
    assert found.contingency.loc[4].tolist() == [0, 0, 0, 0, 0, 30]
    assert found.same_prediction == pytest.approx(160 / 230)
    assert found.samples["changed"].sum() == 70
    assert found.samples.loc[found.samples["changed"], "prediction_first"].tolist() == [
        *["dog"] * 30,
        *["cat"] * 40,
    ]
    assert not found.samples["moved"].any()


def test_one_that_mostly_left_the_class_vanishes_though_the_rest_stays_together(
    tmp_path: Path,
) -> None:
    after = [0] * 60 + [1] * 40 + [2] * 5 + [-1] * 45
    found = compare(folder(tmp_path / "a"), folder(tmp_path / "b", after))
    assert status(found, "first") == ["persists", "persists", "vanishes"]
    assert status(found, "second") == ["persists"] * 3
    row = found.mechanisms.iloc[2]
    assert row["stays"] == pytest.approx(5 / 30)
    assert row["overlap"] == 1.0


def test_samples_that_went_elsewhere_are_told(tmp_path: Path) -> None:
    after = list(GROUPS)
    after[0] = 1
    found = compare(folder(tmp_path / "a"), folder(tmp_path / "b", after))
    assert found.samples.loc[found.samples["moved"], "id"].tolist() == ["case-0"]


def test_classes_go_by_name_where_they_have_names(tmp_path: Path) -> None:
    first = folder(tmp_path / "a")
    turned = folder(tmp_path / "b", classes=("dog", "cat"), target=0)
    assert status(compare(first, turned), "first") == ["persists"] * 3
    assert compare(first, turned).same_prediction == 1.0
    with pytest.raises(StudyError, match="is of 'dog', the one in .* of 'cat'"):
        compare(first, folder(tmp_path / "c", target=0))
    bare = folder(tmp_path / "d", classes=None)
    assert compare(first, bare).n_both == 130


def test_samples_without_names_are_the_same_only_in_the_same_data(tmp_path: Path) -> None:
    numbers = [str(i) for i in range(150)]
    first = folder(tmp_path / "a", ids=numbers, data="one")
    assert compare(first, folder(tmp_path / "b", ids=numbers, data="one")).n_common == 150
    with pytest.raises(DataError, match="different data, whose samples have no names"):
        compare(first, folder(tmp_path / "c", ids=numbers, data="two"))


def test_an_id_that_is_shared_goes_by_position_where_all_ids_are_equal(tmp_path: Path) -> None:
    shared = ["same"] * 150
    first = folder(tmp_path / "a", ids=shared)
    assert compare(first, folder(tmp_path / "b", ids=shared)).n_common == 150
    with pytest.raises(DataError, match="share an id"):
        compare(first, folder(tmp_path / "c"))


def test_other_samples_are_refused(tmp_path: Path) -> None:
    first = folder(tmp_path / "a", labels=[1] * 150)
    others = [f"scan-{i}" for i in range(150)]
    with pytest.raises(DataError, match="no sample in common.*'case-0', of the second like 'scan"):
        compare(first, folder(tmp_path / "b", ids=others))
    with pytest.raises(DataError, match="Sample 'case-0' has label 1 .* different samples"):
        compare(first, folder(tmp_path / "c", labels=[0] * 150))
    away = [-1] * 130 + [0] * 20
    with pytest.raises(DataError, match="None of 150 common samples is predicted as 'dog' in both"):
        compare(first, folder(tmp_path / "d", away))


def test_one_mechanism_each(tmp_path: Path) -> None:
    lone = [0] * 130 + [-1] * 20
    found = compare(folder(tmp_path / "a", lone), folder(tmp_path / "b", lone))
    assert status(found, "first") == status(found, "second") == ["persists"]
    assert np.isnan(found.ami)
    found = compare(Study.open(tmp_path / "a"), folder(tmp_path / "c"))
    assert status(found, "first") == ["splits"]
    assert status(found, "second") == ["split off"] * 3


def test_unstable_mechanisms_are_not_called_gone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first = folder(tmp_path / "a", rng.integers(0, 3, 300).tolist(), stability=0.4)
    second = folder(tmp_path / "b", rng.integers(0, 3, 300).tolist(), stability=0.4)
    found = compare(first, second)
    assert set(status(found, "first")) == {"unstable"}
    assert found.ami < 0.05
    assert found.ami_chance > 0.01
    assert compare(first, second).mechanisms.equals(found.mechanisms)


def test_what_is_no_study_or_has_no_mechanisms(tmp_path: Path) -> None:
    study = folder(tmp_path / "a")
    with pytest.raises(StudyError, match="Open it first"):
        compare(study, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="has no mechanisms to compare. Nothing varied"):
        compare(study, folder(tmp_path / "b", [-1] * 150))
    (tmp_path / "a" / "activations.zarr").rename(tmp_path / "gone")
    with pytest.raises(StorageError, match="no activations store"):
        compare(study, study)
