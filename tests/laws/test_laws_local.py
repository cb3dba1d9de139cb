"""A study around one sample: it names what matters there, where a study of all names everything.

Each repeat draws another network, other inputs and another sample. Counted as wrong is every neuron
that is not its region's own: gates and the neurons of other regions too.
"""

from __future__ import annotations

import numpy as np
import pytest
from planted_regions import planted_regions

from neucept.critical import Search, find_critical

FDR = 0.1

# Among the samples of one region neurons are Gaussian and the score is linear in them.
LINEAR = {"sampler": "gaussian", "statistic": "lasso", "dither": 0.0}
MIXED = {"sampler": "mixture", "statistic": "network", "dither": 0.0, "floor": 0.1}


def realised(repeats: int, **settings) -> dict[str, np.ndarray]:
    """Per repeat: of local studies wrong, found, and of the region; of global ones found in all."""
    seen: dict[str, list[float]] = {"wrong": [], "found": [], "inside": [], "union": []}
    for repeat in range(repeats):
        made = planted_regions(seed=repeat)
        acts = made.acts
        random = np.random.default_rng(repeat)
        inside = np.flatnonzero((made.region >= 0) & (acts.predictions == 1))
        sample = int(random.choice(inside))
        own = set(made.own[made.region[sample]].tolist())
        search = Search(fdr=FDR, keep=0.0, edges=False, seed=repeat, **settings)
        whole = set(find_critical(acts, 1, search, n_jobs=1).neurons("neurons").tolist())
        near = Search(
            **{**vars(search), "samples": "near", "near": acts.ids[sample], "neighbours": "auto"}
        )
        local = find_critical(acts, 1, near, n_jobs=1)
        named = set(local.neurons("neurons").tolist())
        seen["wrong"].append(len(named - own) / max(1, len(named)))
        seen["found"].append(len(named & own) / len(own))
        seen["inside"].append(float((made.region[local.around.rows] == made.region[sample]).mean()))
        seen["union"].append(len(whole & made.union) / len(made.union))
    return {name: np.array(values) for name, values in seen.items()}


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("settings", "repeats"), [(LINEAR, 40), (MIXED, 6)], ids=["exact", "any"])
def test_the_neurons_of_a_region_are_found_around_its_samples(settings, repeats: int) -> None:
    seen = realised(repeats, **settings)
    error = seen["wrong"].std(ddof=1) / np.sqrt(repeats)
    assert seen["wrong"].mean() <= FDR + 2 * error, seen
    assert seen["found"].mean() >= 0.8
    assert seen["union"].mean() >= 0.8
    assert seen["inside"].mean() > 0.99
