"""Edges between neurons: how many of those named are wrong, where the weights are written down."""

from __future__ import annotations

import time

import numpy as np

import neucept as nc

REPEATS = 20
SAMPLES = 1200
LAYERS = ("first", "second")


def edges(search: nc.Search, repeat: int, workers: int | None) -> dict[str, float]:
    """Wrong share and power of the edges of one planted network.

    An edge is true where the unit above has a weight for the unit below: given the rest of the
    layer, no other one changes it. Of the units above, those that were named are asked about.
    """
    begun = time.perf_counter()
    planted = nc.planted_network(SAMPLES, seed=repeat)
    acts = nc.capture(planted.model, planted.x, LAYERS)
    crit = nc.find_critical(acts, 1, search, n_jobs=workers)
    named = crit.edges[(crit.edges["target_layer"] == "second") & crit.edges["selected"]]
    pairs = list(zip(named["target_neuron"].astype(int), named["neuron"].astype(int), strict=True))
    weights = planted.model.second.weight.detach().numpy()
    asked = crit.neurons("second")
    true = int(np.count_nonzero(weights[asked]))
    right = sum(weights[above, below] != 0 for above, below in pairs)
    return {
        "asked": len(asked),
        "named": len(pairs),
        "wrong": (len(pairs) - right) / max(len(pairs), 1),
        "power": right / true if true else float("nan"),
        "seconds": time.perf_counter() - begun,
    }
