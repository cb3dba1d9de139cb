"""From matrices to a selection: densities, knockoffs, statistics, filter.

Knows nothing of networks: x is samples by neurons, y is samples by targets.
"""

from neucept.knockoffs.audit import FEWEST_PLANTED, Audit, audit
from neucept.knockoffs.planting import plant
from neucept.knockoffs.sampling import Sampler, fit_sampler
from neucept.knockoffs.select import check_settings, select, select_both
from neucept.knockoffs.selection import Selection

__all__ = [
    "FEWEST_PLANTED",
    "Audit",
    "Sampler",
    "Selection",
    "audit",
    "check_settings",
    "fit_sampler",
    "plant",
    "select",
    "select_both",
]
