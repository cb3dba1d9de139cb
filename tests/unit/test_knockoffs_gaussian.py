from __future__ import annotations

import numpy as np
import pytest
from designs import covariance, gaussian, scales
from sklearn.covariance import LedoitWolf

from neucept.knockoffs.gaussian import fit_gaussian, fit_gaussian_unscaled


def test_unscaled_fit_is_ledoit_wolf_on_the_data() -> None:
    x = gaussian("factor", 80, 10, np.random.default_rng(0))
    fitted = fit_gaussian_unscaled(x)
    truth = LedoitWolf().fit(x)
    found = fitted.correlation * np.outer(fitted.scale, fitted.scale)
    np.testing.assert_allclose(found, truth.covariance_, rtol=1e-10, atol=1e-12)
    assert fitted.shrinkage == pytest.approx(truth.shrinkage_)


def test_scaled_fit_does_not_depend_on_units() -> None:
    x = gaussian("factor", 80, 10, np.random.default_rng(0))
    units = np.geomspace(1e-3, 1e3, 10)
    one, other = fit_gaussian(x), fit_gaussian(x * units)
    np.testing.assert_allclose(one.correlation, other.correlation, atol=1e-10)
    np.testing.assert_allclose(one.scale * units, other.scale, rtol=1e-10)


def test_fit_finds_the_law() -> None:
    x = gaussian("ar 0.5", 50_000, 6, np.random.default_rng(1))
    fitted = fit_gaussian(x)
    np.testing.assert_allclose(fitted.correlation, covariance("ar 0.5", 6), atol=0.03)
    np.testing.assert_allclose(fitted.scale, scales(6), rtol=0.02)


def test_exact_copies_leave_a_usable_law() -> None:
    x = gaussian("ar 0.5", 5000, 4, np.random.default_rng(1))
    fitted = fit_gaussian(np.c_[x, x[:, 0]])
    assert np.linalg.eigvalsh(fitted.correlation)[0] > 0
    drawn = fitted.conditional(np.c_[x, x[:, 0]], np.array([0]), 1, np.random.default_rng(0))
    assert np.abs(drawn[:, 0, 0] - x[:, 0]).std() < 0.1


def test_all_neurons_can_be_drawn_at_once() -> None:
    x = gaussian("ar 0.8", 4000, 3, np.random.default_rng(1))
    fitted = fit_gaussian(x)
    drawn = fitted.conditional(x, np.arange(3), 2, np.random.default_rng(0))
    assert drawn.shape == (4000, 3, 2)
    np.testing.assert_allclose(np.cov(drawn[:, :, 0].T), np.cov(x.T), atol=0.2)


def test_prepared_once_and_remembered() -> None:
    fitted = fit_gaussian(gaussian("ar 0.5", 100, 4, np.random.default_rng(0)))
    fitted.prepare(2)
    law = fitted._laws[2]
    fitted.prepare(2)
    assert fitted._laws[2] is law
    assert set(fitted.describe()) == {"kind", "shrinkage"}
    assert set(fitted.arrays()) == {"mean", "scale", "correlation"}
