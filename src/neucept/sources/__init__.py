"""From what the user names (factories, weights, a study file) to a module and a dataset."""

from __future__ import annotations

from neucept.sources.data import class_names, load_data
from neucept.sources.models import load_model
from neucept.sources.studyfile import StudyFile, class_index, read_study_file, target_index

__all__ = [
    "StudyFile",
    "class_index",
    "class_names",
    "load_data",
    "load_model",
    "read_study_file",
    "target_index",
]
