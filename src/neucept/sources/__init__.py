"""From what the user names (factories, weights, tables, a study file) to modules and data."""

from __future__ import annotations

from neucept.sources.data import class_names, load_data
from neucept.sources.models import load_model
from neucept.sources.studyfile import StudyFile, class_index, read_study_file, target_index
from neucept.sources.tables import column_of, read_table, rows_of_samples, table_of

__all__ = [
    "StudyFile",
    "class_index",
    "class_names",
    "column_of",
    "load_data",
    "load_model",
    "read_study_file",
    "read_table",
    "rows_of_samples",
    "table_of",
    "target_index",
]
