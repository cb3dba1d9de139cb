from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neucept.errors import StorageError
from neucept.knockoffs import Selection


def selection(targets: int | None = None) -> Selection:
    shape = (5,) if targets is None else (5, targets)
    e_values = np.zeros(shape)
    e_values[1], e_values[3], e_values[4] = 10.0, 30.0, 10.0
    scores = np.zeros(shape)
    scores[1], scores[4] = 0.1, 0.2
    return Selection(
        selected=e_values > 5,
        e_values=e_values,
        scores=scores,
        frequency=np.full(shape, 0.5),
        fdr=0.1,
        message="",
        settings={"knockoffs": 4, "why": {"draws": "é"}},
        groups=((1, 4),),
        set_aside={0: "constant at 1"},
    )


def test_most_evidence_comes_first_and_the_score_breaks_ties() -> None:
    np.testing.assert_array_equal(selection().neurons, [3, 4, 1])
    np.testing.assert_array_equal(selection(2).neurons, [3, 4, 1])


def test_frame_has_a_row_for_each_neuron_with_a_note() -> None:
    frame = selection().to_frame()
    assert list(frame) == ["neuron", "selected", "e_value", "score", "frequency", "note"]
    assert frame["note"].tolist() == [
        "not tested: constant at 1",
        "counts as one with 4",
        "",
        "",
        "counts as one with 1",
    ]
    assert frame["selected"].tolist() == [False, True, False, True, True]


def test_frame_has_a_row_for_each_pair() -> None:
    frame = selection(3).to_frame()
    assert len(frame) == 15
    assert frame["neuron"].tolist()[:4] == [0, 0, 0, 1]
    assert frame["target"].tolist()[:4] == [0, 1, 2, 0]
    assert frame["note"][3] == "counts as one with 4"


@pytest.mark.parametrize("targets", [None, 2])
def test_round_trip(targets: int | None, tmp_path: Path) -> None:
    one = selection(targets)
    one.save(tmp_path / "selection.npz")
    other = Selection.load(tmp_path / "selection.npz")
    for name in ("selected", "e_values", "scores", "frequency"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("fdr", "message", "settings", "groups", "set_aside"):
        assert getattr(one, name) == getattr(other, name)


def test_missing_file_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Selection.load(tmp_path / "nothing.npz")
