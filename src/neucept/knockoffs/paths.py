"""Lasso fits from second moments, by scikit-learn's coordinate descent."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import lasso_path

from neucept.knockoffs.moments import Moments


@dataclass(frozen=True)
class Effort:
    """When coordinate descent stops.

    Attributes:
        tolerance: Duality gap, as a share of the target's power.
        most_iterations: Passes over the columns at most.
    """

    tolerance: float
    most_iterations: int


def lasso_fits(
    moments: Moments,
    target: int,
    alphas: Float[np.ndarray, " alphas"],
    effort: Effort,
    start: Float[np.ndarray, " columns"] | None = None,
) -> Float[np.ndarray, "columns alphas"]:
    """Coefficients at decreasing penalties, each fit starting from the last.

    Coordinate descent looks at a data set through its inner products only, so from these it takes
    the very steps that it would take on the rows.

    Args:
        moments: Of the rows.
        target: Which target.
        alphas: Penalties, for the mean (not the sum) of squares over the rows.
        effort: When to stop.
        start: Coefficients to start from; zero if None.
    """
    # The solver wants rows beside their inner products, but of the columns it only counts them
    # and of the target it only takes the length.
    _, coefficients, _ = lasso_path(
        np.zeros((1, len(moments.gram)), order="F"),
        np.sqrt(moments.power[target : target + 1]),
        alphas=alphas * moments.rows,
        precompute=moments.gram,
        Xy=np.ascontiguousarray(moments.cross[:, target]),
        coef_init=start,
        tol=effort.tolerance,
        max_iter=effort.most_iterations,
        # These arrays are as they should be, and to check them takes as long as a small fit.
        check_input=False,
        # It draws a number even where it takes the columns in order: not from the user's.
        random_state=0,
    )
    return np.asarray(coefficients)


def held_out_error(
    part: Moments, coefficients: Float[np.ndarray, "columns fits"], target: int
) -> Float[np.ndarray, " fits"]:
    """Mean squared error of the rows of `part`, whose moments are about the fitted rows' means."""
    error = part.power[target] - 2 * part.cross[:, target] @ coefficients
    error += np.einsum("cf,cf->f", coefficients, part.gram @ coefficients)
    return np.asarray(error / part.rows)


@contextmanager
def quiet_solver() -> Iterator[None]:
    """Silence the solver where it stops at its last iteration, a digit short of its tolerance.

    Warning filters belong to the process, so only its main thread may change them: in other
    threads this does nothing, and whoever starts the threads enters it first.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
