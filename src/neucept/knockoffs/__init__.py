"""From matrices to a selection: densities, knockoffs, statistics, filter.

Knows nothing of networks: x is samples by neurons, y is samples by targets.
"""

from neucept.knockoffs.asked import Asked, check_settings
from neucept.knockoffs.audit import FEWEST_PLANTED, Audit, cells_of, measure
from neucept.knockoffs.choosing import Choice, choose, settle
from neucept.knockoffs.exchangeability import FEWEST_CHECKED, Exchangeability, check_exchange
from neucept.knockoffs.planting import plant
from neucept.knockoffs.sampling import Sampler, fit_sampler
from neucept.knockoffs.select import audit, select
from neucept.knockoffs.selecting import as_targets, run_selection
from neucept.knockoffs.selection import Selection

__all__ = [
    "FEWEST_CHECKED",
    "FEWEST_PLANTED",
    "Asked",
    "Audit",
    "Choice",
    "Exchangeability",
    "Sampler",
    "Selection",
    "as_targets",
    "audit",
    "cells_of",
    "check_exchange",
    "check_settings",
    "choose",
    "fit_sampler",
    "measure",
    "plant",
    "run_selection",
    "select",
    "settle",
]
