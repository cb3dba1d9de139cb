"""How well low typicality finds errors and foreign inputs: figures, and when there are none."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from neucept.errors import DataError
from neucept.study.explaining import Explanation
from neucept.study.reliability import FOREIGN, WRONG, own_reliability, reliability


def explained(
    typicality: list[float],
    labels: list[int] | None = None,
    predictions: list[int] | None = None,
    level: float = 0.05,
    target: int = 1,
) -> Explanation:
    count = len(typicality)
    predicted = np.full(count, target) if predictions is None else np.array(predictions)
    table = pd.DataFrame(
        {
            "position": range(count),
            "prediction": predicted,
            "label": np.full(count, -1) if labels is None else labels,
            "of_class": predicted == target,
            "typicality": typicality,
            "atypical": np.array(typicality) <= level,
        }
    )
    return Explanation(target, ("fc",), level, table, pd.DataFrame(), pd.DataFrame())


def test_wrong_predictions_are_looked_for_among_those_of_the_class() -> None:
    own = explained(
        [0.02, 0.30, 0.5, 0.9, 0.001, 0.01],
        labels=[0, 0, 1, 1, 0, -1],
        predictions=[1, 1, 1, 1, 0, 1],
    )
    found = reliability(own)
    (row,) = found.table.to_dict("records")
    assert row["what"] == WRONG
    assert (row["wanted"], row["others"]) == (2, 2)
    assert row["auroc"] == 1.0
    assert (row["flagged"], row["flagged_others"]) == (0.5, 0.0)
    assert "AUROC of low typicality 1.00" in found.summary()
    assert "50 % of them and 0 % of the others are atypical" in found.summary()


def test_foreign_inputs_are_looked_for_beside_all_own_ones() -> None:
    own = explained([0.2, 0.4, 0.6, 0.8])
    foreign = explained([0.01, 0.5, 0.001], predictions=[1, 1, 0])
    (row,) = reliability(own, foreign).table.to_dict("records")
    assert row["what"] == FOREIGN
    assert (row["wanted"], row["others"]) == (2, 4)
    # 0.01 is less typical than all four, 0.5 than two of them.
    assert row["auroc"] == pytest.approx(6 / 8)


def test_both_and_what_cannot_be_told() -> None:
    own = explained([0.2, 0.4], labels=[1, 1])
    nothing = explained([0.5], predictions=[0])
    found = reliability(own, nothing)
    assert found.table["what"].tolist() == [WRONG, FOREIGN]
    assert found.table["auroc"].isna().all()
    assert found.summary().count("nothing can be said") == 2


def test_typicality_that_says_nothing_is_one_half() -> None:
    rng = np.random.default_rng(0)
    own = explained(rng.random(2000).tolist(), labels=rng.integers(0, 2, 2000).tolist())
    (row,) = reliability(own).table.to_dict("records")
    assert abs(row["auroc"] - 0.5) < 4 * row["error"] < 0.06
    assert row["flagged"] == pytest.approx(0.05, abs=0.02)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(DataError, match="neither labels nor foreign inputs"):
        reliability(explained([0.5]))
    with pytest.raises(DataError, match="None of 1 samples is predicted as class 1"):
        reliability(explained([0.5], labels=[0], predictions=[0]))
    own = explained([0.5], labels=[1])
    for other in (explained([0.5], level=0.1), explained([0.5], target=2)):
        with pytest.raises(DataError, match="Explain both alike"):
            reliability(own, other)


def own(typicality: list[float], wrong: list[int]) -> pd.DataFrame:
    label = np.where(np.isin(np.arange(len(typicality)), wrong), 0, 1)
    return pd.DataFrame({"typicality": typicality, "prediction": 1, "label": label})


def test_a_studys_own_samples_are_counted_by_typicality() -> None:
    told = own_reliability(own([0.01, 0.05, 0.1, 0.2, 0.4, 0.9, 1.0, 0.0], [0, 1, 4]))
    assert told is not None
    # 15 pairs, in 10 of which the wrong one is the less typical.
    assert told["auroc"] == pytest.approx(10 / 15)
    assert (told["wanted"], told["others"], told["level"]) == (3, 5, 0.05)
    assert told["flagged"] == pytest.approx(2 / 3)
    assert told["flagged_others"] == pytest.approx(1 / 5)
    assert [(band["samples"], band["wrong"]) for band in told["bands"]] == [
        (3, 2),
        (2, 0),
        (1, 1),
        (2, 0),
    ]
    first = told["bands"][0]
    assert first["share"] == pytest.approx(2 / 3)
    # The roots of (p - 2/3)^2 = z^2 p (1 - p) / 3.
    z2 = 1.959964**2
    for end in (first["share_low"], first["share_high"]):
        assert (end - 2 / 3) ** 2 == pytest.approx(z2 * end * (1 - end) / 3, rel=1e-4)
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_what_cannot_be_had_is_none() -> None:
    assert own_reliability(own([], [])) is None
    assert own_reliability(own([0.1, 0.2], [0]).assign(label=-1)) is None
    assert own_reliability(own([np.nan, np.nan], [0])) is None
    told = own_reliability(own([0.3, 0.6], []))
    assert told is not None
    assert (told["auroc"], told["error"], told["flagged"]) == (None, None, None)
    assert (told["wanted"], told["others"]) == (0, 2)
    assert [band["share"] for band in told["bands"]] == [None, None, 0.0, 0.0]
