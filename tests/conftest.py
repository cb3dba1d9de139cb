"""What every test shares: one thread, checked shapes, the folder of real data if there is one."""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
# No test may find what another run left behind, or leave anything in the user's cache.
os.environ["NEUCEPT_CACHE"] = ""

from pathlib import Path

from jaxtyping import install_import_hook

# Where arrays are handled. Settings check themselves, and their own errors are what tests want.
SOURCE = Path(__file__).parents[1] / "src" / "neucept"
KNOCKOFFS = {file.stem for file in (SOURCE / "knockoffs").glob("[a-z]*.py")} - {"asked"}
CHECKED = (
    "activations",
    "critical.chain",
    "critical.layer",
    "critical.population",
    "critical.record",
    "evaluation",
    *(f"knockoffs.{name}" for name in sorted(KNOCKOFFS)),
    "mechanisms",
    "study.pictures",
)
install_import_hook([f"neucept.{part}" for part in CHECKED], "beartype.beartype")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data and networks that NEUCEPT_DATA names."""
    folder = os.environ.get("NEUCEPT_DATA")
    if not folder:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("NEUCEPT_DATA is not set: it names the folder with the real networks and images")
    return Path(folder)
