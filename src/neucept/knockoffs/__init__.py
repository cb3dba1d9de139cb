"""From matrices to a selection: densities, knockoffs, statistics, filter.

Knows nothing of networks: x is samples by neurons, y is samples by targets.
"""

from neucept.knockoffs.sampling import Sampler, fit_sampler
from neucept.knockoffs.select import select, select_both
from neucept.knockoffs.selection import Selection

__all__ = ["Sampler", "Selection", "fit_sampler", "select", "select_both"]
