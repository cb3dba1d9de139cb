"""What is true of a study: cuts, agreement with known groups, and planted truth."""

from neucept.evaluation.ablation import Ablation, ablate
from neucept.evaluation.agreement import Agreement, agreement
from neucept.evaluation.decoys import Decoys, decoy_activations
from neucept.evaluation.planted import PlantedData, PlantedNetwork, planted_data, planted_network

__all__ = [
    "Ablation",
    "Agreement",
    "Decoys",
    "PlantedData",
    "PlantedNetwork",
    "ablate",
    "agreement",
    "decoy_activations",
    "planted_data",
    "planted_network",
]
