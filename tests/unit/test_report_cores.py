"""What is said of a core: how few, of how many, what they keep, and that no rate goes with it."""

from __future__ import annotations

from planted_study import PlantedStudy, add_cores, planted_study

from neucept.report.cores import core_words
from neucept.report.reading import Subject

S = "\N{NO-BREAK SPACE}"
LAYER = (("fc", 20, 10),)


def _said(study: PlantedStudy) -> str:
    subject = Subject(study)
    return core_words(subject, subject.layers[0])


def test_the_core_is_one_plain_sentence() -> None:
    study = planted_study(layers=LAYER)
    assert len(study.info["layers"][0]["core"]["neurons"]) == 3
    assert _said(study) == (
        f"3 of the 10{S}critical neurons keep at least 90{S}% of what the layer tells about its "
        f"target (the layer explains 97{S}% of its variance); they are the core. It has no error "
        "rate of its own."
    )


def test_several_targets_are_called_so() -> None:
    study = planted_study(layers=(("low", 20, 10), ("top", 20, 10)))
    subject = Subject(study)
    top, low = (core_words(subject, entry) for entry in subject.layers)
    assert f"about its target (the layer explains 97{S}% of its variance)" in top
    assert f"about its targets (the layer explains 97{S}% of their variance)" in low


def test_one_neuron_may_suffice() -> None:
    study = planted_study(layers=LAYER)
    study.info["layers"][0]["core"]["neurons"] = study.info["layers"][0]["core"]["neurons"][:1]
    assert _said(study).startswith(f"1 of the 10{S}critical neurons keeps at least 90{S}% of what")
    assert "; it is the core. It has no error rate" in _said(study)


def test_all_may_be_needed_and_may_not_be_enough() -> None:
    study = planted_study(layers=LAYER, core=False)
    add_cores(study, keep=0.999)
    assert _said(study).startswith(
        f"It takes all 10{S}critical neurons to keep at least 99.9{S}% of what"
    )
    add_cores(study, most=0.6)
    assert _said(study).startswith(f"All 10{S}critical neurons keep only 60{S}% of what the layer")
    assert _said(study).endswith("; they are the core. It has no error rate of its own.")
    add_cores(study, most=0.0)
    assert _said(study).startswith("On samples held out, nothing that the layer tells about")


def test_near_copies_are_counted_once() -> None:
    study = planted_study(layers=LAYER, core=False)
    pair = Subject(study).selected("fc")[:2]
    study.info["layers"][0]["groups"] = [pair]
    add_cores(study)
    assert _said(study).startswith(f"3 of the 9{S}critical neurons, near-copies counted once, keep")


def test_near_copies_of_one_another_are_one() -> None:
    study = planted_study(layers=LAYER, core=False)
    study.info["layers"][0]["groups"] = [Subject(study).selected("fc")]
    add_cores(study)
    assert _said(study).startswith(
        f"The one critical neuron, near-copies counted once, keeps at least 90{S}% of what the"
    )
    assert "; it is the core." in _said(study)


def test_nothing_is_said_where_no_core_was_looked_for() -> None:
    assert _said(planted_study(layers=LAYER, core=False)) == ""
    assert _said(planted_study(layers=(("fc", 20, 0),), n_mechanisms=0)) == ""
