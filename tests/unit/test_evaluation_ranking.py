"""The area under the ROC curve and its error."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from neucept.evaluation.ranking import auroc


def test_it_is_the_share_of_pairs_in_order_with_ties_half() -> None:
    rng = np.random.default_rng(0)
    wanted, others = rng.integers(0, 6, 40) / 2 + 0.5, rng.integers(0, 6, 70) / 2
    area, error = auroc(wanted, others)
    truth = np.r_[np.ones(40), np.zeros(70)]
    assert area == pytest.approx(roc_auc_score(truth, np.r_[wanted, others]))
    assert 0 < error < 0.1


def test_extremes() -> None:
    low, high = np.arange(5.0), np.arange(5.0) + 10
    assert auroc(high, low) == (1.0, 0.0)
    assert auroc(low, high) == (0.0, 0.0)
    assert auroc(np.ones(3), np.ones(4)) == (0.5, 0.0)
    assert np.isnan(auroc(np.zeros(0), low)).all()
    area, error = auroc(np.array([2.5]), low)
    assert area == pytest.approx(0.6)
    assert np.isnan(error)


def test_the_error_is_the_spread_of_the_area_over_samples() -> None:
    rng = np.random.default_rng(1)
    found = [auroc(rng.standard_normal(60) + 1, rng.standard_normal(90)) for _ in range(400)]
    areas, errors = np.array(found).T
    assert errors.mean() == pytest.approx(areas.std(), rel=0.15)
