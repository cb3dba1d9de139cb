"""The record survives plain arrays and a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neucept.activations import Activations
from neucept.critical import Critical, Search
from neucept.errors import DataError, StorageError
from neucept.mechanisms import Mechanisms, discover_mechanisms
from neucept.mechanisms.record import ARRAYS, TABLES
from neucept.runtime import read_arrays, write_arrays

LAYER = 'odd "näme" / 1'


def found(selected: bool = True) -> tuple[Mechanisms, Activations]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 3)) + 6.0 * (np.arange(80) % 2)[:, None]
    acts = Activations.from_arrays({LAYER: x}, np.tile([1.0, 0.0], (80, 1)), np.zeros(80, int))
    table = pd.DataFrame({"layer": LAYER, "neuron": np.arange(3), "selected": selected})
    table = table.assign(e_value=1.0, score=1.0, frequency=1.0, note="")
    crit = Critical(0, (LAYER,), Search(), table, table.head(0), {LAYER: ""}, {LAYER: {}})
    return discover_mechanisms(acts, crit, max_mechanisms=3), acts


@pytest.fixture(scope="module")
def several() -> tuple[Mechanisms, Activations]:
    return found()


@pytest.mark.parametrize("selected", [True, False])
def test_everything_comes_back_from_a_file(selected: bool, tmp_path: Path) -> None:
    mech, acts = found(selected)
    write_arrays(tmp_path / "assigner.npz", mech.to_arrays())
    again = Mechanisms.from_arrays(read_arrays(tmp_path / "assigner.npz"))
    for name in ARRAYS:
        assert np.array_equal(getattr(again, name), getattr(mech, name), equal_nan=True), name
    for name in TABLES:
        pd.testing.assert_frame_equal(
            getattr(again, name), getattr(mech, name), check_dtype=False, check_column_type=False
        )
    for name in (
        *("target", "layers", "method", "message", "prototypes", "n_mechanisms"),
        *("n_leaves", "ids", "total"),
    ):
        assert getattr(again, name) == getattr(mech, name), name
    assert dict(again.settings) == dict(mech.settings)
    if selected:
        assert np.array_equal(again.assign(acts).typicality, mech.assign(acts).typicality)
    else:
        with pytest.raises(DataError, match="There are no mechanisms to assign to"):
            again.assign(acts)


def test_the_same_arrays_are_made_again(several: tuple[Mechanisms, Activations]) -> None:
    first, second = several[0].to_arrays(), found()[0].to_arrays()
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name


def test_assignment_repeats_the_labels(several: tuple[Mechanisms, Activations]) -> None:
    mech, acts = several
    assigned = mech.assign(acts)
    assert mech.n_mechanisms == 2
    assert np.array_equal(assigned.labels[mech.samples], mech.labels)
    assert np.array_equal(assigned.membership[mech.samples], mech.membership)


def test_the_table_is_handed_out_as_a_copy(several: tuple[Mechanisms, Activations]) -> None:
    mech, _ = several
    copy = mech.to_frame()
    copy["size"] = 0
    assert (mech.table["size"] == 40).all()


def test_a_file_cut_short_is_refused(
    several: tuple[Mechanisms, Activations], tmp_path: Path
) -> None:
    several[0].save(tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StorageError, match="Cannot read"):
        Mechanisms.load(tmp_path / "a.npz")


def test_a_file_of_an_earlier_version_is_read_with_defaults(
    several: tuple[Mechanisms, Activations], tmp_path: Path
) -> None:
    mech, acts = several
    arrays = mech.to_arrays()
    about = json.loads(str(arrays["about"]))
    del about["total"], about["columns"]["tree"]
    new = ("leaves", "order", "together", "ids", "assigner.together", "assigner.seed")
    older = {
        name: array
        for name, array in arrays.items()
        if name not in new and not name.startswith("tree.")
    }
    write_arrays(tmp_path / "a.npz", older | {"about": np.array(json.dumps(about))})
    again = Mechanisms.load(tmp_path / "a.npz")
    assert np.array_equal(again.leaves, mech.labels)
    assert np.isnan(again.order).all()
    assert again.tree.empty
    assert again.tree.columns.tolist() == mech.tree.columns.tolist()
    assert list(again.ids) == [str(position) for position in mech.samples]
    assert np.array_equal(again.cut(2), mech.labels)
    with pytest.raises(DataError, match="found by an earlier neucept, which kept no tree"):
        again.cut(1)
    assert np.array_equal(again.assign(acts).labels, mech.assign(acts).labels)
