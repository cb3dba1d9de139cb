"""The chart specifications of explained samples and compared studies, as they were last agreed.

After a wanted change ``NEUCEPT_GOLDEN=write pytest tests/golden`` writes them anew; read the
difference before you commit it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import altair as alt
import numpy as np
import pytest
import vl_convert
from altair.utils.schemapi import validate_jsonschema
from planted_study import planted_study
from planted_verbs import planted_explanation

from neucept.report.charts.deciding import deciding
from neucept.report.charts.figure import Figure
from neucept.report.charts.flow import flow
from neucept.report.charts.typicality import typicality
from neucept.report.reading import Subject
from neucept.report.shell import VEGA_LITE

FOLDER = Path(__file__).parent / "verb_charts"


def _deciding() -> Figure:
    study = planted_study(n_samples=40, layers=(("conv", 8, 3), ("fc", 10, 4)), pictures=0)
    found = planted_explanation(study, [0])
    neurons = found.neurons.to_dict("records")
    return deciding(Subject(study), "sample-0", found.table.iloc[0].to_dict(), neurons)


def _typicality() -> Figure:
    usual = np.linspace(0.01, 1, 40)
    groups = {0: usual, 1: usual**2}
    return typicality(groups, {"wrong predictions": usual[:4], "foreign inputs": usual[:0]}, 0.05)


def _flow() -> Figure:
    return flow(np.array([[30, 10, 0], [0, 20, 5], [5, 0, 900]]), list("abc"), list("def"))


CHARTS = {"deciding": _deciding, "typicality": _typicality, "flow": _flow}


@pytest.mark.parametrize("name", CHARTS)
def test_specifications_are_as_agreed_valid_and_compile(name: str) -> None:
    spec = dict(CHARTS[name]().spec)
    text = json.dumps(spec, indent=1, sort_keys=True) + "\n"
    path = FOLDER / f"{name}.json"
    if os.environ.get("NEUCEPT_GOLDEN") == "write":
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert json.loads(text) == json.loads(path.read_text(encoding="utf-8"))
    validate_jsonschema(spec, alt.Chart._rootschema)
    assert vl_convert.vegalite_to_vega(spec, vl_version=VEGA_LITE)["marks"]


def test_every_agreed_specification_has_its_chart() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(CHARTS)
