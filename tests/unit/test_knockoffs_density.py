from __future__ import annotations

import numpy as np
import pytest

from neucept.errors import SettingsError
from neucept.knockoffs import density
from neucept.knockoffs.gaussian import fit_gaussian


def test_unknown_kind_names_the_near_one() -> None:
    with pytest.raises(SettingsError, match="no density 'gausian'.*Did you mean 'gaussian'"):
        density.fit_density("gausian", np.zeros((5, 2)), 0)


@pytest.mark.parametrize("kind", sorted(density.KINDS))
def test_every_kind_offers_what_the_protocol_asks(kind: str) -> None:
    x = np.random.default_rng(0).standard_normal((100, 3))
    fitted = density.fit_density(kind, x, 0)
    assert isinstance(fitted, density.Density)
    random = np.random.default_rng(1)
    fitted.prepare(2)
    assert fitted.knockoffs(x, 2, random).shape == (100, 3, 2)
    assert fitted.conditional(x, np.array([1]), 4, random).shape == (100, 1, 4)


def test_a_new_kind_is_one_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    from neucept.knockoffs import fit_sampler, select

    monkeypatch.setitem(density.KINDS, "mine", lambda x, seed: fit_gaussian(x))
    x = np.random.default_rng(0).standard_normal((120, 4))
    assert fit_sampler(x, "mine").kind == "mine"
    assert select(x, x[:, 0], sampler="mine", draws=1).settings["knockoffs"] == 10
