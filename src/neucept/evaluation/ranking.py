"""How well a score puts some samples before others."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata


def auroc(
    wanted: Float[np.ndarray, " wanted"], others: Float[np.ndarray, " others"]
) -> tuple[float, float]:
    """Chance that a wanted sample scores above another one; ties count half.

    Args:
        wanted: Scores of those that should come first.
        others: Scores of the rest.

    Returns:
        The area under the ROC curve, in [0, 1], and its standard error. The area is NaN where
        either side is empty, the error where either has fewer than two.

    Source: DeLong, DeLong, Clarke-Pearson (1988) for the error.
    """
    if not len(wanted) or not len(others):
        return float("nan"), float("nan")
    ranks = rankdata(np.concatenate([wanted, others]))
    above = (ranks[: len(wanted)] - rankdata(wanted)) / len(others)
    below = 1 - (ranks[len(wanted) :] - rankdata(others)) / len(wanted)
    area = float(above.mean())
    if min(len(wanted), len(others)) < 2:
        return area, float("nan")
    variance = above.var(ddof=1) / len(wanted) + below.var(ddof=1) / len(others)
    return area, float(np.sqrt(variance))
