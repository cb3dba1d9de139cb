"""The backward search over layers: `find_critical`, its settings and its record."""

from neucept.critical.chain import audit_layers, find_critical, rows_of
from neucept.critical.record import CLASS_SCORE, Critical
from neucept.critical.settings import Search, paper_recipe
from neucept.critical.told import chain_information

__all__ = [
    "CLASS_SCORE",
    "Critical",
    "Search",
    "audit_layers",
    "chain_information",
    "find_critical",
    "paper_recipe",
    "rows_of",
]
