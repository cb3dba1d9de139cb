"""neucept: is a class predicted for one reason or for several?

Verbs take data and frozen settings and return frozen records. Names are loaded when they are first
used, so that ``neucept --help`` does not wait for the numerical libraries.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neucept.activations import Activations as Activations
    from neucept.activations import capture as capture
    from neucept.activations import list_layers as list_layers
    from neucept.critical import Critical as Critical
    from neucept.critical import Search as Search
    from neucept.critical import chain_information as chain_information
    from neucept.critical import find_critical as find_critical
    from neucept.critical import paper_recipe as paper_recipe
    from neucept.evaluation import Ablation as Ablation
    from neucept.evaluation import Agreement as Agreement
    from neucept.evaluation import Information as Information
    from neucept.evaluation import InformationCurve as InformationCurve
    from neucept.evaluation import Selectivity as Selectivity
    from neucept.evaluation import ablate as ablate
    from neucept.evaluation import agreement as agreement
    from neucept.evaluation import conditional_information as conditional_information
    from neucept.evaluation import decoy_activations as decoy_activations
    from neucept.evaluation import information_curve as information_curve
    from neucept.evaluation import planted_data as planted_data
    from neucept.evaluation import planted_network as planted_network
    from neucept.evaluation import selectivity as selectivity
    from neucept.knockoffs import Audit as Audit
    from neucept.knockoffs import Sampler as Sampler
    from neucept.knockoffs import Selection as Selection
    from neucept.knockoffs import audit as audit
    from neucept.knockoffs import fit_sampler as fit_sampler
    from neucept.knockoffs import select as select
    from neucept.mechanisms import Circuit as Circuit
    from neucept.mechanisms import Mechanisms as Mechanisms
    from neucept.mechanisms import associate as associate
    from neucept.mechanisms import circuit as circuit
    from neucept.mechanisms import discover_mechanisms as discover_mechanisms
    from neucept.report import write_comparison as write_comparison
    from neucept.report import write_explanation as write_explanation
    from neucept.report import write_report as write_report
    from neucept.study.comparing import Comparison as Comparison
    from neucept.study.comparing import compare as compare
    from neucept.study.explaining import Explanation as Explanation
    from neucept.study.explaining import explain as explain
    from neucept.study.folder import Study as Study
    from neucept.study.reliability import Reliability as Reliability
    from neucept.study.reliability import reliability as reliability
    from neucept.study.run import run_study as run_study
    from neucept.study.settings import StudySettings as StudySettings

__version__ = "0.1.0"

_HOME = {
    "Ablation": "evaluation",
    "Activations": "activations",
    "Agreement": "evaluation",
    "Audit": "knockoffs",
    "Circuit": "mechanisms",
    "Comparison": "study.comparing",
    "Critical": "critical",
    "Explanation": "study.explaining",
    "Information": "evaluation",
    "InformationCurve": "evaluation",
    "Mechanisms": "mechanisms",
    "Reliability": "study.reliability",
    "Sampler": "knockoffs",
    "Search": "critical",
    "Selection": "knockoffs",
    "Selectivity": "evaluation",
    "Study": "study.folder",
    "StudySettings": "study.settings",
    "ablate": "evaluation",
    "agreement": "evaluation",
    "associate": "mechanisms",
    "audit": "knockoffs",
    "capture": "activations",
    "chain_information": "critical",
    "circuit": "mechanisms",
    "compare": "study.comparing",
    "conditional_information": "evaluation",
    "decoy_activations": "evaluation",
    "discover_mechanisms": "mechanisms",
    "explain": "study.explaining",
    "find_critical": "critical",
    "fit_sampler": "knockoffs",
    "information_curve": "evaluation",
    "list_layers": "activations",
    "paper_recipe": "critical",
    "planted_data": "evaluation",
    "planted_network": "evaluation",
    "reliability": "study.reliability",
    "run_study": "study.run",
    "select": "knockoffs",
    "selectivity": "evaluation",
    "write_comparison": "report",
    "write_explanation": "report",
    "write_report": "report",
}

__all__ = [  # noqa: PLE0604
    "__version__",
    *sorted(_HOME, key=str.casefold),
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'neucept' has no attribute '{name}'")
    return getattr(import_module(f"neucept.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
