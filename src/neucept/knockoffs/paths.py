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


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """Moments of some rows together with the smallest data set that has them.

    Coordinate descent looks at a data set through its inner products only, so on this one it
    takes the very steps that it would take on all rows.
    """

    moments: Moments
    x: Float[np.ndarray, "compact columns"]
    y: Float[np.ndarray, "compact targets"]

    @classmethod
    def of(cls, moments: Moments) -> LeastSquares:
        """Find the smallest data set with these moments."""
        return cls(moments, *moments.compact())

    def fit(
        self,
        target: int,
        alphas: Float[np.ndarray, " alphas"],
        effort: Effort,
        start: Float[np.ndarray, " columns"] | None = None,
        *,
        gram: bool = True,
    ) -> Float[np.ndarray, "columns alphas"]:
        """Coefficients at decreasing penalties, each fit starting from the last.

        Args:
            target: Which target.
            alphas: Penalties, for the mean (not the sum) of squares over the rows.
            effort: When to stop.
            start: Coefficients to start from; zero if None.
            gram: Work with inner products (faster where many coefficients stay at zero).
        """
        _, coefficients, _ = lasso_path(
            self.x,
            self.y[:, target],
            alphas=alphas * (self.moments.rows / len(self.x)),
            precompute=self.moments.gram if gram else False,
            Xy=np.ascontiguousarray(self.moments.cross[:, target]) if gram else None,
            coef_init=start,
            tol=effort.tolerance,
            max_iter=effort.most_iterations,
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
