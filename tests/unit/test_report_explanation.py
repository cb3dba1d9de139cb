"""The page of explained samples: what it says of each, of all together, and what it never shows."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import torch
from planted_study import PlantedStudy, planted_study
from planted_verbs import planted_explanation

from neucept.report import write_explanation
from neucept.report.explanation import MOST_SHOWN, shown_samples
from neucept.study.explaining import Explanation
from neucept.study.pictures import small_pictures

HOSTILE = "</script><script>window.hacked=1</script>\"'><img src=x onerror=hacked=1>&{{7*7}}"


def page(to: Path, study: PlantedStudy, explained: Explanation, **more: object) -> str:
    return write_explanation(study, explained, to / "page.html", **more).read_text(encoding="utf-8")


def shown(text: str) -> str:
    """The page without its scripts, which stand at its end."""
    return text.split("<script>", maxsplit=1)[0]


def said(text: str) -> str:
    """What a reader sees, on one line."""
    seen = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    plain = unescape(re.sub(r"<[^>]+>", " ", seen)).replace("\xa0", " ")
    return " ".join(plain.split())


def rows(study: PlantedStudy, mechanism: int, least: float = 0.0) -> list[int]:
    own = study.samples
    kept = own[(own["mechanism"] == mechanism) & (own["membership"] >= least)]
    return [int(k) for k in kept["position"]]


def test_a_usual_sample_is_told_in_a_sentence(tmp_path: Path) -> None:
    study = planted_study()
    position = rows(study, 1, 0.9)[0]
    text = said(page(tmp_path, study, planted_explanation(study, [position], typicality=[0.62])))
    name = study.samples.set_index("position")["id"][position]
    assert f"Why is {name} predicted “even”? By mechanism B, as a usual case of it." in text
    assert "It is predicted “even” by mechanism B rather than C" in text
    assert "It is a usual case: 62 % of B's samples are at least as unusual." in text
    assert "do not rely" not in text
    assert "nats in all" in text
    assert "Nearest prototypes of B" in text


def test_a_sample_on_the_unusual_side_is_called_neither(tmp_path: Path) -> None:
    study = planted_study()
    one = planted_explanation(study, rows(study, 1, 0.9)[:1], typicality=[0.06])
    text = said(page(tmp_path, study, one))
    assert "By mechanism B, on the unusual side of it." in text
    assert "It is on the unusual side, yet not atypical: 6 % of B's samples" in text
    two = planted_explanation(study, rows(study, 1, 0.9)[:2], typicality=[0.06, 0.5])
    assert "None of them is atypical." in said(page(tmp_path, study, two))


def test_a_sample_the_mechanisms_were_not_found_in_says_so(tmp_path: Path) -> None:
    study = planted_study()
    told = "not one of the samples that the mechanisms were found in"
    explained = planted_explanation(study, rows(study, 1)[:1])
    assert told not in said(page(tmp_path, study, explained))
    other = replace(explained, table=explained.table.assign(own=False))
    assert told in said(page(tmp_path, study, other))
    new = replace(other, recorded=False)
    assert told not in said(page(tmp_path, study, new))


def test_an_atypical_sample_is_flagged(tmp_path: Path) -> None:
    study = planted_study()
    explained = planted_explanation(study, rows(study, 0, 0.9)[:1], typicality=[0.01])
    text = said(page(tmp_path, study, explained))
    assert "By mechanism A, but it is unlike its samples: do not rely on it." in text
    assert "Only 1 % of A's samples are at least as unusual." in text
    none = planted_explanation(study, rows(study, 0)[:1], typicality=[0.0002])
    text = said(page(tmp_path, study, none))
    assert "Hardly any of A's samples is as unusual." in text
    assert "under 0.001" in text


def test_a_borderline_sample_names_its_rival(tmp_path: Path) -> None:
    study = planted_study()
    own = study.samples
    position = int(own.loc[(own["mechanism"] == 0) & (own["membership"] < 0.8), "position"].iloc[0])
    text = said(page(tmp_path, study, planted_explanation(study, [position], typicality=[0.5])))
    assert "By mechanism A, but B is nearly as likely." in text
    assert "borderline" in text


def test_a_sample_of_another_class_is_no_case_for_the_study(tmp_path: Path) -> None:
    study = planted_study()
    explained = planted_explanation(study, [1], of_class=False, typicality=[0.01])
    text = said(page(tmp_path, study, explained))
    assert "Not a case for this study, which is of “even”." in text
    assert "mechanism A is only the one that it lies nearest to" in text
    assert "do not rely" not in text


def test_one_mechanism_speaks_of_distance_and_not_of_nats(tmp_path: Path) -> None:
    study = planted_study(n_mechanisms=1)
    study.signature = planted_study().signature.query("mechanism == 0")
    explained = planted_explanation(study, rows(study, 0)[:1], typicality=[0.4])
    text = said(page(tmp_path, study, explained))
    assert "For the same reason as the others: it is a usual case." in text
    assert "adds to the squared distance" in text
    assert "nats in all" not in text


def test_several_samples_stand_in_a_table_and_link_to_their_cards(tmp_path: Path) -> None:
    study = planted_study()
    some = rows(study, 0)[:2] + rows(study, 1)[:1]
    explained = planted_explanation(study, sorted(some), typicality=[0.5, 0.02, 0.3])
    text = page(tmp_path, study, explained)
    assert "One of them is atypical: do not rely on it." in said(text)
    for position in some:
        assert f'href="#sample-{position}"' in text
        assert f'id="sample-{position}"' in text


def test_too_many_samples_are_cut_and_the_page_says_so(tmp_path: Path) -> None:
    study = planted_study()
    text = page(tmp_path, study, planted_explanation(study))
    assert text.count('id="sample-') == MOST_SHOWN
    more = len(study.samples) - MOST_SHOWN
    assert f"The first {MOST_SHOWN} are shown; {more} more are not." in said(text)


def test_all_samples_lead_with_the_most_atypical(tmp_path: Path) -> None:
    study = planted_study()
    explained = planted_explanation(study)
    text = page(tmp_path, study, explained, every=True)
    order = [int(k) for k in re.findall(r'id="sample-(\d+)"', text)]
    table = explained.table.sort_values("typicality")
    assert order == table["position"].tolist()[:MOST_SHOWN]
    assert order == shown_samples(explained, every=True)["position"].tolist()
    flagged = int(explained.table["atypical"].sum())
    assert f"{flagged} of {len(table)} are atypical" in said(text)
    assert f"The {MOST_SHOWN} most atypical of the {len(table)} samples" in said(text)


def test_reliability_is_told_as_it_was_measured(tmp_path: Path) -> None:
    study = planted_study()
    explained = planted_explanation(study)
    explained.table.loc[explained.table["typicality"] < 0.1, "label"] = 1
    wrong = int((explained.table["label"] == 1).sum())
    foreign = planted_explanation(
        study, list(range(900, 940)), recorded=False, typicality=[0.001] * 40
    )
    text = said(page(tmp_path, study, explained, every=True, foreign=foreign))
    assert f"wrong predictions {wrong} {len(explained.table) - wrong} 1.00" in text
    assert re.search(r"foreign inputs 40 \d+ (0\.99|1\.00) ± 0\.\d\d 100 %", text)
    assert "1.00 AUROC for wrong predictions" in text


def test_without_labels_or_strangers_nothing_is_claimed(tmp_path: Path) -> None:
    study = planted_study(labelled=False)
    text = said(page(tmp_path, study, planted_explanation(study, label=-1), every=True))
    assert "neither labels nor foreign inputs" in text
    assert "AUROC for" not in text
    assert "no labels" in text


def test_none_predicted_so_is_a_whole_page(tmp_path: Path) -> None:
    study = planted_study()
    explained = planted_explanation(study, of_class=False)
    text = said(page(tmp_path, study, explained, every=True))
    assert "None of them is predicted “even”." in text
    assert "so none is shown" in text


def test_new_samples_have_their_own_pictures_and_never_the_studys(tmp_path: Path) -> None:
    study = planted_study()
    position = rows(study, 0)[0]
    data = torch.rand(300, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    explained = planted_explanation(study, [position], recorded=False)
    explained = replace(explained, prototypes=explained.prototypes.iloc[:0])
    own = base64.b64encode(study.pictures[position]).decode()
    new = base64.b64encode(small_pictures(data, [position])[position]).decode()
    text = page(tmp_path, study, explained, data=data)
    assert new in text
    assert own not in text
    assert "data:image" not in shown(page(tmp_path, study, explained))


def test_no_images_leaves_every_picture_out(tmp_path: Path) -> None:
    study = planted_study()
    few = planted_explanation(study, rows(study, 0)[:2])
    assert shown(page(tmp_path, study, few)).count("<img ") == 2 + 2 * 3
    bare = shown(page(tmp_path, study, few, images=False))
    assert "<img " not in bare
    assert "left out on purpose" in bare
    new = planted_explanation(study, rows(study, 0)[:2], recorded=False)
    made = page(tmp_path, study, new, data=torch.rand(300, 1, 8, 8), images=False)
    assert "<img " not in shown(made)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    name = HOSTILE + "\u2028\u202e\x1b[31m"
    study = planted_study(
        target=name,
        classes=(name, "odd " + name),
        layers=((name + "1", 24, 7), (name + "2", 84, 12)),
        ids=[f"{name}{k}" for k in range(300)],
    )
    some = rows(study, 0)[:2]
    text = page(tmp_path, study, planted_explanation(study, some, label=1), every=True)
    usual = planted_study()
    explained = planted_explanation(usual, rows(usual, 0)[:2], label=1)
    plain = page(tmp_path, usual, explained, every=True)
    assert text.count("<script") == plain.count("<script")
    assert "<img src=x" not in text
    assert not any(c in text for c in ("\u2028", "\u202e", "\x1b"))


@pytest.mark.parametrize("every", [False, True])
def test_the_page_repeats_bit_by_bit(tmp_path: Path, every: bool) -> None:
    study = planted_study()
    some = rows(study, 1)[:3]
    first = page(tmp_path, study, planted_explanation(study, some), every=every)
    again = planted_study()
    assert first == page(tmp_path, again, planted_explanation(again, some), every=every)
    targets = re.findall(r'(?:href|src)="([^"]*)"', shown(first))
    assert all(target.startswith(("#", "data:")) for target in targets)
    ids = set(re.findall(r' id="([^"]*)"', first))
    assert {target[1:] for target in targets if target.startswith("#")} <= ids
