"""Mechanisms: how many, which samples, how sure; new samples; what else is known of them."""

from neucept.mechanisms.assigner import Assignment
from neucept.mechanisms.circuit import Circuit, circuit
from neucept.mechanisms.discover import discover_mechanisms
from neucept.mechanisms.metadata import associate
from neucept.mechanisms.record import Mechanisms

__all__ = ["Assignment", "Circuit", "Mechanisms", "associate", "circuit", "discover_mechanisms"]
