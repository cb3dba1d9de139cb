"""The settings of the backward search, and those of the published method."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from neucept.critical.core import check_keep
from neucept.errors import SettingsError, near_names
from neucept.knockoffs import Asked, check_settings
from neucept.runtime import check_seed, is_whole

LEAST_NEIGHBOURS = 50
"""Fewer samples around one are refused: no selection can be made on them."""


@dataclass(frozen=True)
class Search:
    """How critical neurons are searched: the settings of `select`, and the way through the layers.

    Attributes:
        fdr: Level of the false discovery rate, per layer, in (0, 1).
        route: "chain" (the targets of a layer are the critical neurons of the layer above) or
            "direct" (the class score is the target of every layer).
        layers: Layers to search, by name; None for all that were captured.
        samples: "all", "predicted" for the samples predicted as the class, or "near" for those of
            them that are nearest to one, which makes the study local.
        near: With samples="near": the id of that sample; where none has this id, its position.
        neighbours: How many samples around it, itself counted, at least 50; "auto" is 1,000, or
            ten for each neuron of the widest layer where that is more (each layer as many where
            they are split), but at most half of those predicted alike, and down to half as many
            where fewer links between like samples lead out of a smaller neighbourhood.
        split: Whether each layer of a chain gets rows of its own, for the stricter promise.
        sampler: Density of the knockoffs, as in `select`.
        statistic: Importance statistic, as in `select`.
        knockoffs: Simultaneous knockoffs per draw, as in `select`.
        draws: Draws that are averaged, as in `select`.
        dither: Noise added to the target in each draw, as in `select`.
        floor: Share of the largest importance under which no neuron is named, as in `select`.
        rows: Samples that each draw sees, as in `select`.
        aggregate: How draws become a selection: "e_values" (with the promise), or "frequency"
            (the share of draws that select a neuron, as published; without a promise).
        scale: "log_odds" of the class against the others, or "raw" network output.
        edges: Whether to find which target each neuron serves as well. With statistic "network"
            and several targets, by lasso, which is quick enough for every pair.
        audit: How often targets are planted on each layer, each kind once (log-odds three times)
            and without noise, to see whether the level holds there; 0 for no audit, else at least
            2. A dither that is left to "auto" is chosen by audits and brings one with it.
        keep: Share of what a layer tells about its targets that its core is to keep, in (0, 1];
            0 for no core.
        seed: Every draw derives its own randomness from it; at least 0.
    """

    fdr: float = 0.1
    route: Literal["chain", "direct"] = "chain"
    layers: tuple[str, ...] | None = None
    samples: Literal["all", "predicted", "near"] = "all"
    near: str | int | None = None
    neighbours: int | Literal["auto"] = "auto"
    split: bool = False
    sampler: str = "auto"
    statistic: str = "auto"
    knockoffs: int | Literal["auto"] = "auto"
    draws: int | Literal["auto"] = "auto"
    dither: float | Literal["auto"] = "auto"
    floor: float | Literal["auto"] = "auto"
    rows: int | Literal["auto", "all"] = "auto"
    aggregate: Literal["e_values", "frequency"] = "e_values"
    scale: Literal["log_odds", "raw"] = "log_odds"
    edges: bool = True
    audit: int = 0
    keep: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no search can be run with.

        Raises:
            SettingsError: a value is outside its range.
        """
        for name, known in (
            ("route", ("chain", "direct")),
            ("samples", ("all", "predicted", "near")),
            ("aggregate", ("e_values", "frequency")),
            ("scale", ("log_odds", "raw")),
        ):
            value = getattr(self, name)
            if value not in known:
                raise SettingsError(f"{name} is {value!r}. {near_names(str(value), known)}")
        self._check_near()
        check_seed(self.seed)
        check_settings(self.asked, self.sampler)
        for name in ("split", "edges"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name} is {getattr(self, name)!r}. Pass True or False.")
        if not is_whole(self.audit) or self.audit < 0 or self.audit == 1:
            raise SettingsError(f"audit is {self.audit!r}. Pass 0, or a whole number from 2 up.")
        if self.keep != 0:
            check_keep(self.keep)
        layers: object = self.layers
        if layers is not None and not isinstance(layers, list | tuple):
            raise SettingsError(f"layers is {layers!r}. Pass a tuple of names, or None for all.")

    def _check_near(self) -> None:
        near: object = self.near
        if near is not None and not (is_whole(near) or isinstance(near, str)):
            raise SettingsError(f"near is {near!r}. Pass the id of a sample, or its position.")
        if self.samples == "near" and near is None:
            raise SettingsError("samples is 'near', and near is not set. Name a sample by its id.")
        count: object = self.neighbours
        auto = isinstance(count, str) and count == "auto"
        if not auto and not (is_whole(count) and count >= LEAST_NEIGHBOURS):
            raise SettingsError(
                f"neighbours is {count!r}. Pass 'auto' or a whole number of at least "
                f"{LEAST_NEIGHBOURS}."
            )
        if self.samples != "near" and not (near is None and auto):
            name = "neighbours" if near is None else "near"
            raise SettingsError(
                f"{name} is {getattr(self, name)!r}, but samples is '{self.samples}'. Set samples "
                "to 'near' for a study around one sample."
            )

    @property
    def asked(self) -> Asked:
        """The part of the settings that a selection takes, without sampler and seed."""
        own = {entry.name for entry in fields(self)}
        return Asked(**{f.name: getattr(self, f.name) for f in fields(Asked) if f.name in own})


def paper_recipe(draws: int = 50, fdr: float = 0.1, seed: int = 0) -> Search:
    """The search of the published method, exactly, for comparison.

    One Gaussian second-order knockoff per draw (MVR), lasso coefficient difference, the raw class
    output as target of every layer over all samples, and as score the share of draws that select a
    neuron. It carries no promise: see ``docs/guarantee.md`` for how often it errs.

    Args:
        draws: Draws that are counted, at least 1.
        fdr: Level of the filter in each draw, in (0, 1).
        seed: At least 0.

    Returns:
        Settings for `find_critical`.

    Source: Vu, Nguyen, Thai (2022), arXiv 2209.08448, and its published code.
    """
    return Search(
        fdr=fdr,
        route="direct",
        sampler="gaussian_unscaled",
        statistic="lasso_published",
        knockoffs=1,
        draws=draws,
        dither=0.0,
        floor=0.0,
        rows="all",
        aggregate="frequency",
        scale="raw",
        edges=False,
        keep=0.0,
        seed=seed,
    )
