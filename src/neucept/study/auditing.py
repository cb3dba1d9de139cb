"""The audit of a finished study: does the promised precision hold on its layers?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from neucept.activations import Activations
from neucept.critical import Critical, audit_layers
from neucept.errors import StudyError
from neucept.runtime import Checkpoints, Progress
from neucept.study.folder import Study, Workplace

NOISES = (0.0, 0.5)
REPEATS = 4


def audit_study(
    study: Study,
    *,
    noises: tuple[float, ...] = NOISES,
    repeats: int = REPEATS,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> tuple[Study, pd.DataFrame]:
    """Audit every layer of a study, on targets that nothing was chosen by.

    Writes ``audit.parquet`` into the study folder, and what it says of each layer into
    ``study.json``, from where the page takes it. An audit that was cut short goes on.

    Args:
        study: A finished study.
        noises: Of the planted targets, in standard deviations, at least 0.
        repeats: Targets of each kind and noise on each layer, at least 2.
        n_jobs: Workers; None for one per core.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        The study with its new audits, and the table: layer, kind, noise, fdr, fdr_error, power,
        power_error, repeats, named. Layers too narrow to be audited are not in it.

    Raises:
        SettingsError: a noise or the number of repeats is out of range.
        StudyError: another run is working in the folder, or was cut short there.
        StorageError: the folder cannot be read or written.
    """
    place = Workplace(study.path, study.info["identity"])
    begun = perf_counter()
    try:
        if not place.info.get("finished"):
            raise StudyError(
                f"The study in '{study.path}' was changed since it was opened, and is not "
                "finished. Run the same 'neucept run' again, then audit it."
            )
        pieces = Checkpoints(study.path / ".pieces")
        found = audit_layers(
            Activations.open(study.path / "activations.zarr"),
            Critical.load(study.path),
            noises=noises,
            repeats=repeats,
            n_jobs=n_jobs,
            progress=progress,
            checkpoints=pieces,
        )
        tables = [audit.table.assign(layer=layer) for layer, audit in found.items()]
        table = _table(tables)
        place.write_table("audit", table)
        said = {layer: audit.to_json() for layer, audit in found.items()}
        place.audited(perf_counter() - begun)
        place.save(finished=True, layers=with_audits(place.info["layers"], said))
        pieces.clear()
    finally:
        place.close()
    return Study.open(study.path), table


def with_audits(
    entries: Sequence[dict[str, Any]], said: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """The layers' entries of ``study.json``, with what an audit says of them.

    Args:
        entries: One for each layer.
        said: By layer; others keep what they have.
    """
    return [
        {**entry, "audit": said[entry["name"]]} if entry["name"] in said else entry
        for entry in entries
    ]


def _table(tables: list[pd.DataFrame]) -> pd.DataFrame:
    numbers = ("noise", "fdr", "fdr_error", "power", "power_error", "repeats", "named")
    columns = ["layer", "kind", *numbers]
    if not tables:
        empty = {c: np.zeros(0) if c in numbers else np.zeros(0, dtype=np.str_) for c in columns}
        return pd.DataFrame(empty)
    return pd.concat(tables, ignore_index=True)[columns]
