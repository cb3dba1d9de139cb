"""What is true of a study: cuts, information, agreement with known groups, and planted truth."""

from neucept.evaluation.ablation import Ablation, ablate
from neucept.evaluation.agreement import Agreement, agreement
from neucept.evaluation.cutrecord import Applied, Selectivity
from neucept.evaluation.decoys import Decoys, decoy_activations
from neucept.evaluation.information import (
    Information,
    InformationCurve,
    conditional_information,
    information_curve,
)
from neucept.evaluation.planted import PlantedData, PlantedNetwork, planted_data, planted_network
from neucept.evaluation.selectivity import selectivity

__all__ = [
    "Ablation",
    "Agreement",
    "Applied",
    "Decoys",
    "Information",
    "InformationCurve",
    "PlantedData",
    "PlantedNetwork",
    "Selectivity",
    "ablate",
    "agreement",
    "conditional_information",
    "decoy_activations",
    "information_curve",
    "planted_data",
    "planted_network",
    "selectivity",
]
