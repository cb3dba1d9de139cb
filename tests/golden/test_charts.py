"""The chart specifications, as they were last agreed.

After a wanted change ``NEUCEPT_GOLDEN=write pytest tests/golden`` writes them anew; read the
difference before you commit it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import altair as alt
import pytest
import vl_convert
from altair.utils.schemapi import validate_jsonschema
from planted_study import planted_study

from neucept.report.charts import CHARTS, Drawer
from neucept.report.reading import Subject
from neucept.report.shell import VEGA_LITE

FOLDER = Path(__file__).parent / "charts"
STUDY = planted_study(n_samples=40, layers=(("conv", 8, 3), ("fc", 10, 4)), pictures=0)


@pytest.mark.parametrize("draw", CHARTS, ids=lambda draw: draw.__name__)
def test_specifications_are_as_agreed(draw: Drawer) -> None:
    figure = next(draw(Subject(STUDY)))
    text = json.dumps(figure.spec, indent=1, sort_keys=True) + "\n"
    path = FOLDER / f"{draw.__name__}.json"
    if os.environ.get("NEUCEPT_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert json.loads(text) == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("draw", CHARTS, ids=lambda draw: draw.__name__)
def test_specifications_are_valid_and_compile(draw: Drawer) -> None:
    spec = dict(next(draw(Subject(STUDY))).spec)
    validate_jsonschema(spec, alt.Chart._rootschema)
    compiled = vl_convert.vegalite_to_vega(spec, vl_version=VEGA_LITE)
    assert compiled["marks"]


def test_every_agreed_specification_has_its_chart() -> None:
    names = {draw.__name__ for draw in CHARTS}
    assert {path.stem for path in FOLDER.glob("*.json")} == names
