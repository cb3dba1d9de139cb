"""The arrays that every statistic takes and gives."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Neurons = Float[np.ndarray, "samples neurons"]
Copies = Float[np.ndarray, "samples neurons copies"]
Targets = Float[np.ndarray, "samples targets"]

Importances = Float[np.ndarray, "neurons columns"]
"""The original's first, then one for each knockoff."""

SeparateImportances = Float[np.ndarray, "neurons columns targets"]
