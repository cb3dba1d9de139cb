"""A study of a planted network that takes seconds."""

from __future__ import annotations

from pathlib import Path

from torch.utils.data import TensorDataset

from neucept.evaluation import PlantedNetwork
from neucept.study.folder import Study
from neucept.study.run import run_study
from neucept.study.settings import StudySettings

QUICK = StudySettings(
    layers=("second",),
    sampler="gaussian",
    statistic="lasso",
    dither=0.0,
    audit=0,
    keep=0.0,
    draws=1,
    max_mechanisms=2,
    ablation_samples=8,
)


def run(
    planted: PlantedNetwork, to: Path, settings: StudySettings = QUICK, **more
) -> tuple[Study, set[str]]:
    """The study, and the stages that were told of: those that were computed."""
    told: set[str] = set()
    study = run_study(
        planted.model,
        TensorDataset(planted.x, planted.labels),
        1,
        to,
        settings,
        progress=lambda stage, done, total: told.add(stage),
        **more,
    )
    return study, told
