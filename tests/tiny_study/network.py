"""A network and data small enough to study in seconds: two groups of inputs lead to one class."""

import numpy as np
import pandas as pd
from torch.utils.data import TensorDataset

from neucept import planted_network


def build():
    return planted_network(seed=0).model


def load():
    """The samples, with metadata: where each came from, which one group in two follows."""
    planted = planted_network(seed=0)
    data = TensorDataset(planted.x, planted.labels)
    rng = np.random.default_rng(0)
    astray = rng.random(len(planted.x)) < 0.1
    group = np.where(astray, rng.integers(0, 2, len(astray)), planted.mechanisms.clip(0))
    data.metadata = pd.DataFrame(
        {"site": np.array(["north", "south"])[group], "weight": rng.normal(size=len(group))}
    )
    return data
