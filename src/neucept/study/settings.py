"""Every option of a study, declared once, for the command line, the study file and the API."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from neucept.activations import check_device
from neucept.critical import Search
from neucept.errors import SettingsError, near_names

ABLATION_MODES = ("resample", "zero", "mean", "noise")


@dataclass(frozen=True)
class StudySettings:
    """How a study is run. Every value has a default that suits a first look.

    Attributes:
        layers: Layers to study, by dotted name; None for all but the one that gives the output.
        fdr: Share of wrong neurons accepted among those named, per layer, in (0, 1).
        route: "chain" asks each layer about the critical neurons above; "direct" about the class.
        samples: Searched on "all", those "predicted" as the class, or of these those "near" one.
        near: The sample around which a local study looks: its id, or else its position.
        neighbours: Samples of a local study, or "auto".
        split: Whether each layer of a chain gets samples of its own, for the stricter promise.
        pool: How a channel or a feature becomes one number per sample: "mean", "max" or "none".
        batch_size: Samples per forward pass.
        device: "auto", "cpu", "cuda" or "cuda:N".
        sampler: Density of the knockoffs, or "auto".
        statistic: Importance statistic, or "auto".
        knockoffs: Simultaneous knockoffs per draw, or "auto".
        draws: Draws of knockoffs that are averaged, or "auto".
        dither: Noise added to the target in each draw, in its standard deviations, or "auto".
        floor: Share of the largest importance under which no neuron is named, or "auto".
        rows: Samples that each draw sees: a number, "auto" (10,000 at most) or "all".
        audit: How often targets are planted on each layer, to see whether the level holds there;
            0 for no audit.
        keep: Share of what a layer tells about its targets that its core is to keep, in (0, 1];
            0 for no core.
        neurons: Mechanisms are told apart by all "critical" neurons of a layer, or by its "core".
        n_mechanisms: Number of mechanisms, or "auto".
        max_mechanisms: Most mechanisms that "auto" considers.
        ablation_modes: How neurons are cut: "resample", "zero", "mean", "noise".
        ablation_samples: Samples of the class on which cuts are measured.
        selectivity: Samples of each mechanism that choose a cut for it, and as many that measure
            what the cut takes from it and from the others; 0 for no such check.
        pictures: Most inputs kept as small pictures for the page.
        seed: Every random choice derives from it.
        n_jobs: Workers; None for one per core.
    """

    layers: tuple[str, ...] | None = None
    fdr: float = 0.1
    route: Literal["chain", "direct"] = "chain"
    samples: Literal["all", "predicted", "near"] = "all"
    near: str | int | None = None
    neighbours: int | Literal["auto"] = "auto"
    split: bool = False
    pool: Literal["mean", "max", "none"] = "mean"
    batch_size: int = 256
    device: str = "auto"
    sampler: str = "auto"
    statistic: str = "auto"
    knockoffs: int | Literal["auto"] = "auto"
    draws: int | Literal["auto"] = "auto"
    dither: float | Literal["auto"] = "auto"
    floor: float | Literal["auto"] = "auto"
    rows: int | Literal["auto", "all"] = "auto"
    audit: int = 2
    keep: float = 0.9
    neurons: Literal["critical", "core"] = "critical"
    n_mechanisms: int | Literal["auto"] = "auto"
    max_mechanisms: int = 12
    ablation_modes: tuple[str, ...] = ("resample",)
    ablation_samples: int = 128
    selectivity: int = 0
    pictures: int = 1500
    seed: int = 0
    n_jobs: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that no stage could use, before anything long starts.

        Raises:
            SettingsError: a value has the wrong type or is outside its range.
        """
        if self.layers is not None and not isinstance(self.layers, list | tuple):
            raise SettingsError(
                f"layers is {self.layers!r}. Pass a list of names, or leave it out."
            )
        if self.layers is not None:
            object.__setattr__(self, "layers", tuple(self.layers))
            repeated = {name for name in self.layers if self.layers.count(name) > 1}
            if repeated or not self.layers:
                what = f"names {sorted(repeated)} twice" if repeated else "is empty"
                raise SettingsError(
                    f"layers {what}. Name each layer once, or leave it out for all."
                )
            if not all(isinstance(name, str) for name in self.layers):
                raise SettingsError(f"layers is {list(self.layers)}. Pass a list of names.")
        object.__setattr__(self, "ablation_modes", _names(self.ablation_modes))
        _one_of("pool", self.pool, ("mean", "max", "none"))
        _one_of("neurons", self.neurons, ("critical", "core"))
        for mode in self.ablation_modes:
            _one_of("ablation_modes", mode, ABLATION_MODES)
            if self.ablation_modes.count(mode) > 1:
                raise SettingsError(f"ablation_modes names {mode!r} twice. Name each mode once.")
        for name, least in _WHOLE_NUMBERS.items():
            value = getattr(self, name)
            if name not in _MAY_ALSO_BE or value != _MAY_ALSO_BE[name]:
                _whole(name, value, least)
        if not isinstance(self.device, str):
            raise SettingsError(f"device is {self.device!r}. Pass 'auto', 'cpu' or 'cuda'.")
        check_device(self.device)
        for name in ("sampler", "statistic"):
            if not isinstance(getattr(self, name), str):
                kind = type(getattr(self, name)).__name__
                raise SettingsError(f"{name} is a {kind}. Pass a name; `select` takes objects.")
        _ = self.search

    @property
    def search(self) -> Search:
        """The part of the settings that the search for critical neurons takes."""
        own = {entry.name for entry in fields(self)}
        return Search(**{f.name: getattr(self, f.name) for f in fields(Search) if f.name in own})


_WHOLE_NUMBERS = {
    "batch_size": 1,
    "n_mechanisms": 1,
    "max_mechanisms": 1,
    "ablation_samples": 1,
    "selectivity": 0,
    "pictures": 0,
    "n_jobs": 1,
}

_MAY_ALSO_BE = {"n_mechanisms": "auto", "n_jobs": None}


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise SettingsError(f"ablation_modes is {value!r}. Pass a list of names.")
    return tuple(value)


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingsError(f"{name} is {value!r}. {near_names(str(value), known)}")


def _whole(name: str, value: object, least: int) -> None:
    # Not numpy's: settings are written as JSON.
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SettingsError(f"{name} is {value!r}. Pass a whole number of at least {least}.")
