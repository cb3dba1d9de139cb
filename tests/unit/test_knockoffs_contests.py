from __future__ import annotations

import numpy as np
import pytest
from designs import gaussian

from neucept.knockoffs import contests, fit_sampler
from neucept.knockoffs.contests import Work, run_draws
from neucept.knockoffs.lasso import Lasso


def work(targets: int = 5, dither: float = 0.0) -> Work:
    random = np.random.default_rng(0)
    x = gaussian("ar 0.5", 300, 8, random)
    y = x[:, :3] @ random.standard_normal((3, targets)) + random.standard_normal((300, targets))
    return Work(x, y, fit_sampler(x, "gaussian"), Lasso(), 3, dither, len(x), 7)


def same(one, other) -> None:
    np.testing.assert_array_equal(one.margin, other.margin)
    np.testing.assert_array_equal(one.original_wins, other.original_wins)


def test_both_is_joint_and_separate() -> None:
    both = run_draws(work(), 2, "both", n_jobs=1)
    joint = run_draws(work(), 2, "joint", n_jobs=1)
    separate = run_draws(work(), 2, "separate", n_jobs=1)
    for d in range(2):
        assert separate[d].joint is None
        assert joint[d].separate == ()
        assert len(both[d].separate) == 5
        same(both[d].joint, joint[d].joint)
        for t in range(5):
            same(both[d].separate[t], separate[d].separate[t])
    assert not np.array_equal(joint[0].joint.margin, joint[1].joint.margin)


def test_blocks_of_targets_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_draws(work(), 1, "separate", n_jobs=1)[0].separate
    monkeypatch.setattr(contests, "TARGETS_PER_TASK", 2)
    blocks = run_draws(work(), 1, "separate", n_jobs=1)[0].separate
    for one, other in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(one.margin, other.margin, atol=1e-6)


def test_dither_is_fresh_in_each_draw_and_never_touches_the_data() -> None:
    plain, noisy = work(1), work(1, dither=1.0)
    before = noisy.y.copy()
    margins = [d.joint.margin for d in run_draws(noisy, 2, "joint", n_jobs=1)]
    np.testing.assert_array_equal(noisy.y, before)
    undithered = [d.joint.margin for d in run_draws(plain, 2, "joint", n_jobs=1)]
    assert not np.allclose(margins[0], undithered[0])


def test_progress_is_told_of_every_task() -> None:
    told = []
    run_draws(work(), 3, "joint", n_jobs=1, progress=lambda *news: told.append(news))
    assert told == [("select", 1, 3), ("select", 2, 3), ("select", 3, 3)]
