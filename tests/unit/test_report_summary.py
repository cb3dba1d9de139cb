"""The first screen: what it claims must follow from the study, no more and no less."""

from __future__ import annotations

import numpy as np
import pytest
from planted_study import PlantedStudy, planted_study

from neucept.report.charts import CHARTS
from neucept.report.layers import layer_views
from neucept.report.promise import agreement, promise
from neucept.report.provenance import provenance
from neucept.report.reading import Subject
from neucept.report.summary import summary


def _summary(study: PlantedStudy):
    return summary(Subject(study))


@pytest.mark.parametrize(
    ("weakest", "answer"),
    [
        (0.95, "No: three mechanisms were found, and they are very stable."),
        (0.80, "No: three mechanisms were found, and they are stable."),
        (0.65, "Probably not: three mechanisms were found, fairly stable."),
        (0.30, "Unclear: three mechanisms were found, but not all of them are stable."),
        (np.nan, "Probably not: three mechanisms were found."),
    ],
)
def test_answer_is_as_sure_as_the_weakest_mechanism_is_stable(weakest: float, answer: str) -> None:
    study = planted_study()
    study.mechanisms["stability"] = [0.99, weakest, 0.97] if weakest > 0 else np.nan
    said = _summary(study)
    assert said.answer == answer
    assert (f"{weakest:.2f} for the weakest" in said.how_sure) == (weakest > 0)


def test_a_number_that_was_asked_for_is_not_called_found() -> None:
    study = planted_study()
    study.info["settings"]["n_mechanisms"] = 3
    assert _summary(study).answer == "Split into three, as asked: stable."


def test_the_byline_says_what_was_studied_and_when() -> None:
    assert _summary(planted_study()).byline == "LeNet · 300\u00a0samples · 2026-11-23"


def test_one_mechanism_is_an_answer() -> None:
    said = _summary(planted_study(n_mechanisms=1))
    assert said.answer == "As far as this study can tell, yes: one mechanism."
    assert said.how_sure == "Two groups were no more stable than one mechanism would give."
    assert not any("borderline" in remark for remark in said.remarks)


def test_no_mechanisms_is_said_with_the_reason() -> None:
    layers = (("conv", 16, 0), ("fc", 84, 0))
    said = _summary(planted_study(n_mechanisms=0, layers=layers))
    assert said.answer.startswith("This study cannot say")
    assert "nothing to group by" in said.how_sure
    assert [found.first for found in said.found] == ["none reached the level"] * 2
    assert any("fc and conv" in remark for remark in said.remarks)


def test_tiles_count_what_the_tables_hold() -> None:
    study = planted_study(core=False)
    tiles = {tile.label: tile for tile in _summary(study).tiles}
    assert tiles["critical neurons"].value == str(int(study.critical["selected"].sum()))
    assert tiles["critical neurons"].note.startswith(f"of {len(study.critical)} in")
    assert tiles["samples"].value == str(len(study.samples))
    assert "does not support it on every layer" in tiles["of critical neurons wrong"].note


def test_what_an_audit_does_not_support_is_asked_for_not_promised() -> None:
    assert _summary(planted_study()).promise.startswith("Asked for: in each layer, at most")
    assert _summary(planted_study(audited=False)).promise.startswith("In each layer, at most")


def test_a_promise_without_an_audit_says_so() -> None:
    tiles = {tile.label: tile for tile in _summary(planted_study(audited=False)).tiles}
    assert tiles["of critical neurons wrong"].note == "promised per layer, not audited yet"


def test_the_cores_lead_where_every_layer_has_one() -> None:
    study = planted_study()
    said = _summary(study)
    cores = [entry["core"]["neurons"] for entry in reversed(study.info["layers"])]
    tile = next(tile for tile in said.tiles if tile.label == "core neurons")
    assert tile.value == str(sum(map(len, cores)))
    assert tile.note == "of 19 critical, 108 in 2\u00a0layers"
    assert [found.core for found in said.found] == [len(core) for core in cores]
    assert [found.first for found in said.found] == [", ".join(map(str, core)) for core in cores]
    assert [found.count for found in said.found] == ["12 of 84 (as 11)", "7 of 24"]
    study.info["layers"][0]["core"] = None
    said = _summary(study)
    assert "critical neurons" in {tile.label for tile in said.tiles}
    assert said.found[1].core == 0


def test_it_is_said_what_the_mechanisms_were_read_off() -> None:
    study = planted_study()
    assert _summary(study).source.endswith("the critical neurons of layer classifier.0.")
    study.info["mechanisms"]["used"] = {"classifier.0": "core"}
    told = "the core (grown to keep 99\u00a0%) of layer classifier.0."
    assert _summary(study).source.endswith(told)


def test_layers_stand_from_the_prediction_down_with_most_evidence_first() -> None:
    study = planted_study(core=False)
    found = _summary(study).found
    assert [entry.layer for entry in found] == ["classifier.0", "features.3"]
    table = study.critical[study.critical["layer"] == "classifier.0"]
    best = table.sort_values("e_value", ascending=False)["neuron"].iloc[0]
    assert found[0].first.startswith(f"{best}, ")
    assert found[0].first.endswith("and 7 more")


def test_a_mechanism_that_is_less_often_right_is_pointed_out() -> None:
    study = planted_study(n_samples=1000)
    assert any(remark.startswith("C is right less often") for remark in _summary(study).remarks)
    study.mechanisms["accuracy"] = [0.95, 0.94, 0.93]
    assert not any("right less often" in remark for remark in _summary(study).remarks)


def test_a_gap_within_its_error_is_not_pointed_out() -> None:
    study = planted_study()
    study.mechanisms["size"] = [20, 20, 10]
    study.mechanisms["accuracy"] = [0.9, 0.9, 0.8]
    assert not any("right less often" in remark for remark in _summary(study).remarks)


def test_without_labels_nothing_is_said_about_accuracy() -> None:
    said = _summary(planted_study(labelled=False))
    assert {tile.label: tile.value for tile in said.tiles}["accuracy"] == "unknown"
    assert not any("right less often" in remark for remark in said.remarks)


def test_the_promise_names_the_level_of_the_study() -> None:
    study = planted_study()
    study.info["settings"]["fdr"] = 0.05
    assert "at most 5\u00a0%" in _summary(study).promise
    assert promise(Subject(study)).level == "5\u00a0%"


def test_counting_passes_promises_nothing() -> None:
    study = planted_study()
    study.info["layers"][0]["aggregate"] = "frequency"
    said = _summary(study)
    assert "no promise" in said.promise
    assert "of critical neurons wrong" not in {tile.label for tile in said.tiles}
    assert promise(Subject(study)).level == ""


def test_agreement_is_reported_only_where_it_was_measured() -> None:
    assert "0.81" in agreement(Subject(planted_study()))
    assert agreement(Subject(planted_study(labelled=False))) == ""


def test_selections_that_say_little_are_pointed_out() -> None:
    study = planted_study(layers=(("a", 20, 20), ("b", 20, 5), ("c", 20, 20)), core=False)
    study.info["layers"][2]["groups"] = [list(range(20))]
    remarks = _summary(study).remarks
    assert "20 of the 20 neurons of c move together and count as one." in remarks
    assert any(remark.startswith("Nearly every neuron of a is critical.") for remark in remarks)
    assert _summary(study).found[0].count == "20 of 20 (as 1)"


def contrast(study: PlantedStudy, other: str = "odd") -> PlantedStudy:
    study.info["target"]["against"] = {"index": 1, "name": other}
    return study


def test_a_contrast_is_asked_and_told_as_one() -> None:
    study = contrast(planted_study())
    said = _summary(study)
    assert said.question == "Is “even” always predicted rather than “odd” for the same reason?"
    subject = Subject(study)
    figures = [figure for draw in CHARTS for figure in draw(subject)]
    assert any("still predicted “even” rather than “odd”" in f.description for f in figures)
    chain = next(f for f in figures if f.section == "chain")
    assert "score of even against odd" in chain.description
    assert chain.spec["datasets"]["top"][0]["text"] == "score of “even” against “odd”"
    assert any("rather than “odd”" in cut for view in layer_views(subject) for cut in view.cuts)
    ((_, rows), *_) = provenance(subject)
    assert dict(rows)["class"] == "even (index 0) rather than odd (index 1)"


def test_a_study_of_one_class_says_nothing_of_another() -> None:
    study = planted_study()
    study.info["target"]["against"] = None
    assert _summary(study).question == "Is “even” always predicted for the same reason?"
    assert Subject(study).score == "score of even"
    assert Subject(study).predicted() == "“even”"


def test_a_local_study_says_around_which_sample_and_how_local_it_is() -> None:
    study = planted_study()
    study.info["near"] = {
        "position": 3,
        "id": "scans/<3>.png",
        "predicted": 180,
        "samples": 90,
        "spread": 0.354,
        "message": "Half of the 180 samples are few.",
    }
    said = _summary(study)
    assert said.question.startswith("Around “scans/<3>.png”: is “even” always predicted")
    tile = next(tile for tile in said.tiles if tile.label == "samples")
    assert (tile.value, tile.note) == ("90", "nearest to one, of 180 predicted “even”")
    assert said.remarks[0] == (
        "This study is about the 90\u00a0samples nearest to “scans/<3>.png” alone. They vary "
        "35\u00a0% as much as all that are predicted alike. Half of the 180 samples are few."
    )
    ((_, rows), *_) = provenance(Subject(study))
    assert dict(rows)["around"] == "scans/<3>.png (90 nearest)"
