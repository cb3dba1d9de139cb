"""The charts: what is drawn, what is left out, and that a new one needs no other edit."""

from __future__ import annotations

import json
from collections.abc import Iterator

import altair as alt
import pandas as pd
import pytest
from planted_study import planted_study

from neucept.report import charts
from neucept.report.charts.chain import CLASS_SCORE, MOST_EDGES, MOST_NEURONS, arrange, chain
from neucept.report.charts.core import core
from neucept.report.charts.figure import Figure, dataset, specification
from neucept.report.charts.samples_map import drawn, samples_map
from neucept.report.charts.signature import signature
from neucept.report.page import render
from neucept.report.reading import Subject


def _figures(subject: Subject) -> list[Figure]:
    return [figure for draw in charts.CHARTS for figure in draw(subject)]


def _rows(figure: Figure) -> list[dict]:
    return max(figure.spec["datasets"].values(), key=len)


def test_each_part_of_the_page_has_its_charts() -> None:
    found = [(f.section, f.item) for f in _figures(Subject(planted_study()))]
    layers = ["classifier.0", "features.3"]
    assert found == [
        *(("mechanisms", name) for name in "ABC"),
        ("associations", ""),
        ("map", ""),
        *(("order", name) for name in ("tree", "samples")),
        ("doubt", ""),
        *(("layers", name) for name in layers * 2),
        ("chain", ""),
        *(("ablation", name) for name in layers for _ in range(2)),
        ("choice", ""),
    ]


def test_specs_repeat_bit_by_bit_and_hold_no_address() -> None:
    once = [json.dumps(f.spec, allow_nan=False) for f in _figures(Subject(planted_study()))]
    again = [json.dumps(f.spec) for f in _figures(Subject(planted_study()))]
    assert once == again
    assert not any("http" in text for text in once)


def test_the_map_has_each_sample_once_typical_ones_below() -> None:
    study = planted_study()
    figure = next(samples_map(Subject(study)))
    rows = _rows(figure)
    assert sorted(r["position"] for r in rows) == sorted(study.samples["position"])
    kinds = [row["kind"] for row in rows]
    assert kinds.index("plain") > max(i for i, kind in enumerate(kinds) if kind == "typical")


def test_the_map_keeps_prototypes_when_it_cannot_draw_all() -> None:
    study = planted_study(n_samples=9000, pictures=0)
    subject = Subject(study)
    shown = drawn(subject)
    assert len(shown) == 5000
    assert set(subject.typical) <= set(shown["position"])
    assert "5,000 of 5,400 samples are drawn" in next(samples_map(subject)).caption


def test_the_signature_shows_the_largest_differences_on_a_common_scale() -> None:
    study = planted_study()
    figure = next(signature(Subject(study)))
    rows = _rows(figure)
    own = study.signature[study.signature["mechanism"] == 0]
    strongest = own.loc[own["difference"].abs().sort_values(ascending=False).index[:8], "neuron"]
    assert [row["number"] for row in rows[::2]] == strongest.tolist()
    assert all(0 <= row["low"] <= row["median"] <= row["high"] <= 1 for row in rows)


def test_the_signature_survives_neurons_that_never_vary() -> None:
    study = planted_study()
    for name in ("low", "median", "high", "others_low", "others_median", "others_high"):
        study.signature[name] = 1.0
    rows = _rows(next(signature(Subject(study))))
    assert {row["low"] for row in rows} == {0.0}


def test_one_mechanism_has_no_signature() -> None:
    assert list(signature(Subject(planted_study(n_mechanisms=1)))) == []


def test_the_chain_shows_the_strongest_lines_and_counts_the_others() -> None:
    study = planted_study(layers=(("low", 200, 100), ("high", 120, 40)))
    for entry in study.info["layers"]:
        entry["groups"] = []
    subject = Subject(study)
    layout = arrange(subject)
    per_row = [sum(place[1] == depth for place in layout.places.values()) for depth in range(3)]
    assert per_row == [1, MOST_NEURONS, MOST_NEURONS]
    assert layout.hidden_neurons == 100 + 40 - 2 * MOST_NEURONS
    assert len(layout.edges) <= 2 * MOST_EDGES
    assert layout.all_edges == int(study.edges["selected"].sum())
    hidden = layout.all_edges - len(layout.edges)
    assert f"{hidden:,} are hidden" in next(chain(subject)).caption


def test_the_chain_draws_lines_only_between_neurons_that_are_drawn() -> None:
    layout = arrange(Subject(planted_study(layers=(("low", 200, 100), ("high", 120, 40)))))
    for below, above, weight, _ in layout.edges:
        assert below in layout.places
        assert above in layout.places
        assert 0 < weight <= 1
        assert layout.places[below][1] > layout.places[above][1]


def test_neurons_that_move_together_are_drawn_as_one() -> None:
    study = planted_study(layers=(("low", 8, 4), ("high", 32, 32)))
    study.info["layers"][1]["groups"] = [list(range(32))]
    study.info["layers"][0]["groups"] = []
    subject = Subject(study)
    layout = arrange(subject)
    drawn_high = [node for node in layout.places if node[0] == "high"]
    assert drawn_high == [("high", 0)]
    assert {below for below, *_ in layout.edges if below[0] == "high"} == {("high", 0)}
    names = {row["node"] for row in next(chain(subject)).spec["datasets"]["neurons"]}
    assert "high · 0 and 31 that move with it" in names


def test_the_direct_route_leads_every_line_to_the_class_score() -> None:
    layout = arrange(Subject(planted_study(route="direct")))
    assert {above for _, above, _, _ in layout.edges} == {CLASS_SCORE}


def test_neurons_stand_under_what_they_serve() -> None:
    study = planted_study(layers=(("low", 10, 2), ("high", 10, 2)))
    subject = Subject(study)
    left, right = subject.selected("high")
    one, two = subject.selected("low")
    edges = study.edges[study.edges["target_layer"] == ""]
    crossing = edges.iloc[:0].copy()
    for neuron, target in ((one, right), (two, left)):
        crossing.loc[len(crossing)] = ["low", neuron, "high", target, True, 5.0, 1.0]
    study.edges = pd.concat([edges, crossing], ignore_index=True)
    places = arrange(Subject(study)).places
    on_left = min((left, right), key=lambda n: places["high", n][0])
    below = {right: one, left: two}[on_left]
    assert places["low", below][0] < 0.5


def test_the_curve_of_a_core_has_what_was_measured_and_marks_the_core() -> None:
    study = planted_study()
    layer = "classifier.0"
    figure = next(core(Subject(study)))
    table = study.kept[(study.kept["layer"] == layer) & study.kept["measured"]]
    rows = _rows(figure)
    assert [(row["size"], row["kept"]) for row in rows] == [
        (size, float(f"{kept:.4g}"))
        for size, kept in zip(table["size"], table["kept"], strict=True)
    ]
    size = len(study.info["layers"][1]["core"]["neurons"])
    assert [row["size"] for row in rows if row["core"]] == [size]
    assert figure.spec["datasets"]["asked"] == [{"keep": 0.9}]
    assert f"{size}\u00a0neurons of " in figure.description


def test_without_cores_there_is_no_curve() -> None:
    assert list(core(Subject(planted_study(core=False)))) == []
    study = planted_study()
    study.kept = study.kept.iloc[:0]
    assert list(core(Subject(study))) == []


def test_empty_tables_leave_their_charts_out_of_a_whole_page() -> None:
    study = planted_study()
    for name in ("edges", "ablation", "choice", "signature"):
        setattr(study, name, getattr(study, name).iloc[:0])
    left = {"associations", "map", "order", "doubt", "layers", "chain"}
    assert {f.section for f in _figures(Subject(study))} == left
    page = render(study)
    assert "Cuts were not measured" in page
    assert "The number was given" in page


def test_a_new_chart_is_a_function_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def sizes(subject: Subject) -> Iterator[Figure]:
        rows = [{"size": int(size)} for size in subject.study.mechanisms["size"]]
        chart = alt.Chart(dataset()).mark_bar().encode(x=alt.X("size:Q"))
        spec = specification(chart, rows=rows)
        yield Figure("mechanisms", "", "Sizes", "One bar each.", "Sizes", spec)

    monkeypatch.setattr("neucept.report.page.CHARTS", [sizes])
    assert "<strong>Sizes.</strong> One bar each." in render(planted_study())
