"""The charts of the page. A new one is a module with one function, and one line below."""

from __future__ import annotations

from neucept.report.charts.ablation import ablation
from neucept.report.charts.associations import associations
from neucept.report.charts.chain import chain
from neucept.report.charts.choice import choice
from neucept.report.charts.core import core
from neucept.report.charts.doubt import doubted
from neucept.report.charts.evidence import evidence
from neucept.report.charts.figure import CONFIG, Drawer, Figure
from neucept.report.charts.order import order
from neucept.report.charts.samples_map import samples_map
from neucept.report.charts.signature import signature
from neucept.report.charts.tree import tree

__all__ = ["CHARTS", "CONFIG", "Drawer", "Figure"]

CHARTS: list[Drawer] = [
    signature,
    associations,
    samples_map,
    tree,
    order,
    doubted,
    core,
    evidence,
    chain,
    ablation,
    choice,
]
"""Every chart; within a section of the page they stand in this order."""
