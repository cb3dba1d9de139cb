"""What is true of a study: cuts, agreement with known groups, and planted truth."""

from neucept.evaluation.ablation import Ablation, ablate
from neucept.evaluation.agreement import Agreement, agreement
from neucept.evaluation.planted import PlantedData, PlantedNetwork, planted_data, planted_network

__all__ = [
    "Ablation",
    "Agreement",
    "PlantedData",
    "PlantedNetwork",
    "ablate",
    "agreement",
    "planted_data",
    "planted_network",
]
