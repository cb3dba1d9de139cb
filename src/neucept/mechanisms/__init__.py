"""Mechanisms: how many, which samples, how sure; assignment of new samples."""

from neucept.mechanisms.assigner import Assignment
from neucept.mechanisms.circuit import Circuit, circuit
from neucept.mechanisms.discover import discover_mechanisms
from neucept.mechanisms.record import Mechanisms

__all__ = ["Assignment", "Circuit", "Mechanisms", "circuit", "discover_mechanisms"]
