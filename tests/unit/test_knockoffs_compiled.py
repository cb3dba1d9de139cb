from __future__ import annotations

import numba
import pytest

from neucept.knockoffs.compiled import compiled


def test_a_kernel_is_compiled_anew_where_no_place_can_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    njit = numba.njit

    def shut(**settings: bool) -> object:
        if settings.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**settings)

    monkeypatch.setattr(numba, "njit", shut)
    assert compiled(lambda a: a + 1)(2) == 3
