"""Layers and cards as the page shows them."""

from __future__ import annotations

import pytest
from planted_study import planted_study

from neucept.report.cards import cards
from neucept.report.layers import MOST_ROWS, layer_views
from neucept.report.reading import Subject


def test_every_neuron_is_listed_once_selected_first() -> None:
    study = planted_study()
    view = next(layer_views(Subject(study)))
    rows = view.first + view.others
    assert sorted(row.neuron for row in rows) == list(range(84))
    assert [row.selected for row in rows] == [True] * 12 + [False] * 72
    assert view.tested == "83 tested, at least 5 or none could be named"


def test_the_core_stands_first_in_the_order_in_which_it_grows() -> None:
    study = planted_study()
    core = study.info["layers"][1]["core"]["neurons"]
    view = next(layer_views(Subject(study)))
    rows = view.first + view.others
    assert [row.neuron for row in rows[: len(core)]] == core
    assert [row.core for row in rows] == [True] * len(core) + [False] * (84 - len(core))
    assert {row.state for row in rows[: len(core)]} == {"critical, in the core"}
    assert rows[len(core)].state == "critical"
    assert view.core_size == len(core)
    assert view.first_title == "The core first, then neurons with most evidence"
    # The core is outside the most of what has room, by evidence alone.
    study = planted_study(layers=(("wide", MOST_ROWS + 100, MOST_ROWS + 50),))
    study.info["layers"][0]["core"]["neurons"] = Subject(study).selected("wide")[-3:]
    rows = next(layer_views(Subject(study))).first
    assert [row.core for row in rows] == [True] * 3 + [False] * (len(rows) - 3)


def test_without_a_core_the_table_is_by_evidence() -> None:
    view = next(layer_views(Subject(planted_study(core=False))))
    assert (view.core, view.core_size) == ("", 0)
    assert view.first_title == "Neurons with most evidence"
    assert {row.state for row in view.first} == {"critical"}


def test_a_wide_layer_is_cut_and_says_so() -> None:
    layers = (("wide", MOST_ROWS + 100, 30),)
    view = next(layer_views(Subject(planted_study(layers=layers))))
    assert len(view.first + view.others) == MOST_ROWS
    assert view.others_title.startswith(f"The other {MOST_ROWS - 12}\u00a0neurons, 18 of them")
    assert view.others_title.endswith("(100\u00a0more neurons not listed)")


def test_an_empty_layer_shows_its_message() -> None:
    view = next(layer_views(Subject(planted_study(layers=(("fc", 30, 0),), n_mechanisms=0))))
    assert view.message.startswith("Nothing was selected")
    assert view.cuts == ()


def test_set_aside_neurons_are_gathered_by_reason() -> None:
    study = planted_study()
    study.info["layers"][-1]["set_aside"] = {"7": "constant", "3": "constant", "1": "copy of 0"}
    view = next(layer_views(Subject(study)))
    assert view.aside == (("constant", "3 and 7"), ("copy of 0", "1"))
    assert view.groups == ("2 and 5",)


@pytest.mark.parametrize(
    ("critical", "keep", "judged"),
    [
        (0.10, False, "more than chance explains"),
        (0.50, False, "Chance would explain"),
        (0.95, False, "Random neurons do more"),
        (0.95, True, "more than chance explains"),
        (0.10, True, "Random neurons do more"),
    ],
)
def test_a_cut_is_judged_against_the_random_band(critical: float, keep: bool, judged: str) -> None:
    study = planted_study()
    table = study.ablation[study.ablation["keep"] == keep].copy()
    random = table["order"] == "random"
    table.loc[random, "unchanged"] = 0.4 + 0.01 * table.loc[random, "repeat"]
    table.loc[~random, "unchanged"] = critical
    study.ablation = table
    view = next(layer_views(Subject(study)))
    assert len(view.cuts) == 1
    assert judged in view.cuts[0]
    assert "the 12\u00a0neurons" in view.cuts[0]


def test_cards_carry_numbers_and_examples() -> None:
    study = planted_study()
    first = next(cards(Subject(study)))
    facts = dict(first.facts)
    assert first.name == "A"
    assert facts["samples"] == str(study.mechanisms["size"].iloc[0])
    assert facts["stability"] == "very stable, 0.97"
    assert len(first.examples) == 12
    assert all(e.picture.startswith("data:image/webp;base64,") for e in first.examples)
    assert len(first.high) + len(first.low) == 8


def test_examples_with_another_label_say_which() -> None:
    study = planted_study()
    wrong = study.samples.set_index("position")["label"] != 0
    for card, listed in zip(cards(Subject(study)), study.mechanisms["prototypes"], strict=True):
        expected = [wrong[int(p)] for p in listed.strip("[]").split(",")]
        assert [example.label == "odd" for example in card.examples] == expected


def test_unstable_and_unclear_mechanisms_are_flagged() -> None:
    study = planted_study()
    study.mechanisms["stability"] = [0.9, 0.5, 0.9]
    third = study.samples["mechanism"] == 2
    study.samples.loc[third, "membership"] = 0.55
    flags = [card.flags for card in cards(Subject(study))]
    assert flags == [(), ("unstable",), ("many borderline samples",)]


def test_images_off_leaves_names_and_takes_pictures() -> None:
    study = planted_study()
    first = next(cards(Subject(study, images=False)))
    assert not first.pictured
    assert [e.picture for e in first.examples] == [""] * 12
    assert all(e.name.startswith("scans/") for e in first.examples)


def test_settings_of_a_layer_come_with_their_reasons() -> None:
    view = next(layer_views(Subject(planted_study())))
    facts = {label: (value, why) for label, value, why in view.facts}
    assert facts["draws of knockoffs"] == ("8", "two seeds then agree well at a reasonable cost")
    assert facts["model of the activations"] == ("gaussian (shrinkage 0.0123)", "")
    assert facts["statistic"] == ("lasso (folds 5)", "")


def test_how_well_copies_pass_is_said_in_one_sentence() -> None:
    study = planted_study()
    wrong, right = (view.copies for view in layer_views(Subject(study)))
    assert right == (
        "Copies and originals can be told apart with AUC 0.51 ± 0.01 (0.5 is chance); their "
        "means, variances and covariances differ by no more than chance."
    )
    assert wrong == (
        "Copies and originals can be told apart with AUC 0.91 ± 0.01 (0.5 is chance); most of all "
        "they differ in the variance of neuron 5, by more than chance."
    )
    del study.info["layers"][0]["exchangeability"]
    study.info["layers"][1]["exchangeability"] = None
    assert [view.copies for view in layer_views(Subject(study))] == ["", ""]


def test_a_large_group_is_named_once_and_not_in_every_row() -> None:
    study = planted_study(layers=(("fc", 32, 32),), core=False)
    study.info["layers"][0]["groups"] = [list(range(32))]
    study.critical["note"] = "counts as one with " + ", ".join(str(k) for k in range(32))
    view = next(layer_views(Subject(study)))
    assert view.headline == "32 of 32 (as 1)"
    assert view.groups == ("0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 20 more",)
    assert {row.state for row in view.first} == {"critical, one of 32 that move together"}


def test_a_cut_of_every_neuron_is_never_compared_with_itself() -> None:
    view = next(layer_views(Subject(planted_study(layers=(("fc", 32, 32),)))))
    assert len(view.cuts) == 2
    assert all("the 16\u00a0neurons" in cut for cut in view.cuts)
