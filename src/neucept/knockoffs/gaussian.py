"""The Gaussian density: Ledoit-Wolf covariance, MVR knockoffs, conditional laws."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve, helmert
from sklearn.covariance import ledoit_wolf

from neucept.knockoffs.smatrix import mvr

_LEAST_EIGENVALUE = 1e-6


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A multivariate normal law.

    Attributes:
        mean: Mean of each neuron.
        scale: Standard deviation of each neuron, above 0.
        correlation: Positive definite.
        shrinkage: The share of the target in the Ledoit-Wolf estimate, 0 to 1.
    """

    mean: Float[np.ndarray, " neurons"]
    scale: Float[np.ndarray, " neurons"]
    correlation: Float[np.ndarray, "neurons neurons"]
    shrinkage: float
    _laws: dict[int, _KnockoffLaw] = field(default_factory=dict, repr=False)

    def prepare(self, copies: int) -> None:
        """Compute S and the factors of the conditional law for this number of copies, once."""
        if copies not in self._laws:
            self._laws[copies] = _knockoff_law(self.correlation, copies)

    def knockoffs(
        self, x: Float[np.ndarray, "samples neurons"], copies: int, random: np.random.Generator
    ) -> Float[np.ndarray, "samples neurons copies"]:
        """Draw simultaneous knockoffs of each row.

        Args:
            x: Activations.
            copies: How many knockoffs of each neuron.
            random: Where the noise comes from.

        Returns:
            The knockoffs, in the unit of `x`.

        Source: Gimenez and Zou (2019), "Improving the stability of the knockoff procedure:
        multiple simultaneous knockoffs and entropy maximization".
        """
        self.prepare(copies)
        law = self._laws[copies]
        samples, neurons = x.shape
        centred = (x - self.mean) / self.scale
        common = centred @ law.keep + random.standard_normal((samples, neurons)) @ law.noise.T
        drawn = np.empty((samples, copies, neurons))
        if copies > 1:
            random.standard_normal(out=drawn)
            drawn *= np.sqrt(law.s)
            drawn -= drawn.mean(1, keepdims=True)
            drawn += common[:, None, :]
        else:
            drawn[:, 0, :] = common
        drawn *= self.scale
        drawn += self.mean
        return np.moveaxis(drawn, 1, 2)

    def affine(self, copies: int) -> AffineLaw:
        """The law of simultaneous knockoffs given the rows, as `knockoffs` draws them.

        Args:
            copies: How many knockoffs of each neuron.
        """
        self.prepare(copies)
        law = self._laws[copies]
        keep = law.keep / self.scale[:, None] * self.scale
        return AffineLaw(
            offset=self.mean - self.mean @ keep,
            keep=keep,
            common=law.noise.T * self.scale,
            own=np.sqrt(law.s) * self.scale,
            contrasts=helmert(copies).T if copies > 1 else np.zeros((1, 0)),
        )

    def conditional(
        self,
        x: Float[np.ndarray, "samples neurons"],
        neurons: Int[np.ndarray, " chosen"],
        n: int,
        random: np.random.Generator,
    ) -> Float[np.ndarray, "samples chosen n"]:
        """Draw the chosen neurons jointly from their law given the others.

        Args:
            x: Activations; the columns of `neurons` are not looked at.
            neurons: Which to draw.
            n: Draws per row.
            random: Where the noise comes from.

        Returns:
            The draws, in the unit of `x`.
        """
        others = np.setdiff1d(np.arange(len(self.mean)), neurons)
        covariance = self.correlation[np.ix_(neurons, neurons)]
        centre = np.zeros((len(x), len(neurons)))
        if others.size:
            across = self.correlation[np.ix_(others, neurons)]
            weights = cho_solve(cho_factor(self.correlation[np.ix_(others, others)]), across)
            centre = ((x[:, others] - self.mean[others]) / self.scale[others]) @ weights
            covariance = covariance - across.T @ weights
        factor = _factor(covariance)
        noise = random.standard_normal((len(x), n, len(neurons))) @ factor.T
        drawn = (centre[:, None, :] + noise) * self.scale[neurons] + self.mean[neurons]
        return np.moveaxis(drawn, 1, 2)

    def describe(self) -> dict[str, Any]:
        """What was fitted, as plain JSON values."""
        return {"kind": "gaussian", "shrinkage": round(float(self.shrinkage), 6)}

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything the law depends on."""
        return {"mean": self.mean, "scale": self.scale, "correlation": self.correlation}


@dataclass(frozen=True, eq=False)
class AffineLaw:
    """Knockoffs of rows x are x `keep` + `offset` + noise, which is the same function of each row.

    Attributes:
        offset: Of every copy.
        keep: How the knockoffs follow the rows.
        common: How all copies follow the noise they share.
        own: Spread of what tells the copies apart.
        contrasts: Copies beside the noises that they do not share; orthonormal, sums of 0.
    """

    offset: Float[np.ndarray, " neurons"]
    keep: Float[np.ndarray, "neurons neurons"]
    common: Float[np.ndarray, "neurons neurons"]
    own: Float[np.ndarray, " neurons"]
    contrasts: Float[np.ndarray, "copies others"]

    @property
    def columns(self) -> int:
        """Columns of noise for each row: as many as knockoffs."""
        return len(self.own) * len(self.contrasts)

    def stirred(
        self, noise: Float[np.ndarray, "rows columns"]
    ) -> Float[np.ndarray, "rows columns"]:
        """What the noise adds, a linear function of it: the copies of all neurons side by side.

        Args:
            noise: Standard normal, or any rows in its place.
        """
        neurons = len(self.own)
        shared = noise[:, :neurons] @ self.common
        others = noise[:, neurons:].reshape(len(noise), -1, neurons) * self.own
        apart = np.einsum("rkn,ck->rcn", others, self.contrasts, optimize=True)
        return np.asarray(shared[:, None] + apart).reshape(len(noise), -1)


def fit_gaussian(x: Float[np.ndarray, "samples neurons"], seed: int = 0) -> Gaussian:
    """Fit mean and covariance; the covariance is shrunk on the scale of correlations.

    Args:
        x: Activations, no column constant.
        seed: Not used: the fit is deterministic.

    Source: Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional
    covariance matrices".
    """
    mean, scale = x.mean(0), x.std(0)
    covariance, shrinkage = ledoit_wolf((x - mean) / scale)
    return _gaussian(mean, scale, covariance, float(shrinkage))


def fit_gaussian_unscaled(x: Float[np.ndarray, "samples neurons"], seed: int = 0) -> Gaussian:
    """Fit mean and covariance, the covariance shrunk on the neurons' own scales, as published.

    A neuron of small variance is shrunk most; `fit_gaussian` treats all alike.

    Args:
        x: Activations, no column constant.
        seed: Not used: the fit is deterministic.

    Source: Vu, Nguyen, Thai (2022), and the knockpy package, which their code calls.
    """
    covariance, shrinkage = ledoit_wolf(x)
    return _gaussian(x.mean(0), np.ones(x.shape[1]), covariance, float(shrinkage))


def _gaussian(
    mean: Float[np.ndarray, " neurons"],
    scale: Float[np.ndarray, " neurons"],
    covariance: Float[np.ndarray, "neurons neurons"],
    shrinkage: float,
) -> Gaussian:
    spread = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(spread, spread)
    np.fill_diagonal(correlation, 1.0)
    least = float(np.linalg.eigvalsh(correlation)[0])
    if least < _LEAST_EIGENVALUE:
        weight = (_LEAST_EIGENVALUE - least) / (1.0 - least)
        correlation = (1.0 - weight) * correlation + weight * np.eye(len(correlation))
    return Gaussian(mean, scale * spread, correlation, shrinkage)


@dataclass(frozen=True, eq=False)
class _KnockoffLaw:
    """Knockoffs given z are z `keep` + `noise` e + the copies' own noise of variance `s`."""

    s: Float[np.ndarray, " neurons"]
    keep: Float[np.ndarray, "neurons neurons"]
    noise: Float[np.ndarray, "neurons neurons"]


def _knockoff_law(correlation: Float[np.ndarray, "n n"], copies: int) -> _KnockoffLaw:
    s = mvr(correlation, copies)
    pulled = cho_solve(cho_factor(correlation), np.diag(s))
    shared = (copies + 1) / copies * np.diag(s) - s[:, None] * pulled
    return _KnockoffLaw(s, np.eye(len(s)) - pulled, _factor((shared + shared.T) / 2))


def _factor(covariance: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """A matrix F with F F' = covariance, also where rounding has made it barely indefinite."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(vectors * np.sqrt(np.clip(values, 0.0, None)))
