"""Where a study's network and samples came from, for commands that need them again."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from neucept.errors import InputError, ModelError, StudyError
from neucept.sources import load_model
from neucept.sources.factories import is_file, split_spec
from neucept.study.folder import Study, Workplace


@dataclass(frozen=True)
class Origin:
    """What the user named, as ``study.json`` keeps it: files relative to the study folder.

    Attributes:
        model: The model factory.
        data: The data factory.
        weights: The weights file; None for the module as the factory makes it.
    """

    model: str
    data: str
    weights: str | None = None


def remember_origin(study: Study, model: str, data: str, weights: Path | None = None) -> Study:
    """Write into ``study.json`` which factories and weights a study was run with.

    Args:
        study: A finished study.
        model: The model factory, ``"file.py:name"`` or ``"package.module:name"``.
        data: The data factory, in the same form.
        weights: The weights file.

    Returns:
        The study, opened anew.

    Raises:
        StudyError: another run is working in the folder.
        StorageError: the folder cannot be written.
    """
    found = Origin(
        model=_spec(model, study.path),
        data=_spec(data, study.path),
        weights=None if weights is None else _near(weights, study.path),
    )
    place = Workplace(study.path, study.info["identity"])
    try:
        place.save(origin=asdict(found))
    finally:
        place.close()
    return Study.open(study.path)


def recall_model(study: Study) -> nn.Module:
    """The network of a study, from the factory and weights that it was run with.

    Code that lies in the study folder itself is not run: whoever made the folder could have put it
    there.

    Raises:
        ModelError: the study does not say, or what it says leads nowhere any more.
        StudyError: it names code or weights inside its own folder.
    """
    said = study.info.get("origin")
    if not isinstance(said, dict) or not isinstance(said.get("model"), str):
        raise ModelError(
            f"The study in '{study.path}' does not say where its network came from. "
            "Pass --model, and --weights where it has some."
        )
    weights = said.get("weights")
    spec = _spec_from(said["model"], study.path)
    path = None if weights is None else _from(str(weights), study.path)
    try:
        return load_model(spec, path)
    except InputError as error:
        raise ModelError(
            f"The network that the study in '{study.path}' was run with no longer loads: {error} "
            "Or pass --model, and --weights where it has some."
        ) from error


def _spec(spec: str, folder: Path) -> str:
    place, _, name = spec.rpartition(":")
    return f"{_near(Path(place), folder)}:{name}" if is_file(place) else spec


def _near(path: Path, folder: Path) -> str:
    resolved = path.resolve()
    try:
        return Path(os.path.relpath(resolved, folder.resolve())).as_posix()
    except ValueError:  # Windows: on another drive
        return resolved.as_posix()


def _spec_from(spec: str, folder: Path) -> str:
    place, name = split_spec(spec, "model", ModelError)
    return f"{_from(place, folder)}:{name}" if is_file(place) else spec


def _from(path: str, folder: Path) -> Path:
    found = (folder / path).resolve()
    if folder.resolve() in found.parents:
        raise StudyError(
            f"The study in '{folder}' names '{path}' inside its own folder, which is not run. "
            "Pass --model, and --weights where it has some."
        )
    return found
