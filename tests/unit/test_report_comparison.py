"""The page of two studies: its verdict, a sentence for each mechanism, and who went elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted_study import planted_study
from planted_verbs import FATES, planted_comparison
from test_report_explanation import said, shown

from neucept.report import write_comparison
from neucept.report.charts.flow import flow
from neucept.report.fates import fate
from neucept.study.comparing import FIRST, SECOND

BEFORE, AFTER = planted_study(), planted_study(n_mechanisms=4, seed=1)


def page(to: Path, fates: tuple = FATES, **more: object) -> str:
    compared = planted_comparison(BEFORE, fates)
    path = write_comparison(BEFORE, AFTER, compared, to / "page.html", **more)
    return path.read_text(encoding="utf-8")


def test_the_verdict_counts_what_became_of_the_mechanisms(tmp_path: Path) -> None:
    text = said(page(tmp_path))
    verdict = (
        "One of three mechanisms persists, one splits and one vanishes; in the second one appears."
    )
    assert verdict in text
    assert "277 samples are in both studies; 130 have a mechanism in both" in text
    assert "90 % are predicted alike" in text
    assert "Agreement of the mechanisms (AMI): 0.81" in text
    assert "probability of as much between unrelated ones: 0.001." in text


KEPT = tuple((SECOND, k, "persists", (k,), 0.9) for k in range(3))
LOOSE = tuple((SECOND, k, "unstable", (k,), 0.9) for k in range(4))


@pytest.mark.parametrize(
    ("statuses", "others", "verdict"),
    [
        (("persists",) * 3, KEPT, "Yes: the same three mechanisms are found in both."),
        (
            ("persists",) * 3,
            (*KEPT, (SECOND, 3, "appears", (), 0.1)),
            "All three mechanisms of the first are found again; in the second one appears.",
        ),
        (
            ("merges", "merges", "persists"),
            (*KEPT[:2], (SECOND, 2, "merged", (0, 1), 0.9)),
            "One of three mechanisms persists and two merge.",
        ),
        (
            ("unstable", "unstable", "not seen"),
            LOOSE,
            "None of three mechanisms persists, two are unstable and one cannot be looked for; in "
            "the second four are unstable.",
        ),
    ],
)
def test_verdicts(tmp_path: Path, statuses: tuple[str, ...], others: tuple, verdict: str) -> None:
    own = tuple((FIRST, k, one, (k,), 0.9) for k, one in enumerate(statuses))
    fates = (*own, *others)
    if len(others) == 3:
        compared = planted_comparison(BEFORE, fates)
        counts = compared.contingency.drop(columns=3)
        compared = replace(compared, contingency=counts)
        path = write_comparison(BEFORE, AFTER, compared, tmp_path / "page.html")
        assert verdict in said(path.read_text(encoding="utf-8"))
    else:
        assert verdict in said(page(tmp_path, fates))


def test_every_mechanism_has_its_sentence_and_its_examples(tmp_path: Path) -> None:
    text = page(tmp_path)
    for row in planted_comparison(BEFORE).mechanisms.to_dict("records"):
        assert " ".join(fate(row).replace("\xa0", " ").split()) in said(text)
    body = shown(text)
    assert len(re.findall(r'<div class="member">', body)) == len(FATES)
    assert body.count("<img ") >= 8 * len(FATES)


def test_those_that_belong_together_share_a_card(tmp_path: Path) -> None:
    titles = re.findall(r"<h3>(First[^<]*|Second \w[^<]*)</h3>", page(tmp_path))
    assert titles == [
        "First A → second B",
        "First B → second A and C",
        "First C",
        "Second D",
        "First",
    ]


def test_samples_that_changed_or_moved_are_named(tmp_path: Path) -> None:
    text = said(page(tmp_path))
    samples = planted_comparison(BEFORE).samples
    one = samples[samples["changed"]].iloc[0]
    assert f"{one['id']} first “even” second “odd”" in text
    moved = samples[samples["moved"]].iloc[0]
    assert f"{moved['id']} first A second A" in text


def test_studies_go_by_names_and_one_network_is_called_one(tmp_path: Path) -> None:
    text = said(page(tmp_path, names=("before", "after")))
    assert "first: LeNet (before) · second: LeNet (after)" in text
    assert "for the same reasons in both studies?" in text
    other = planted_study(n_mechanisms=4, seed=1)
    other.info["identity"]["network"] = "another"
    path = write_comparison(BEFORE, other, planted_comparison(BEFORE), tmp_path / "page.html")
    assert "for the same reasons by both networks?" in said(path.read_text(encoding="utf-8"))


def test_one_mechanism_has_no_agreement(tmp_path: Path) -> None:
    compared = replace(planted_comparison(BEFORE), ami=float("nan"), ami_chance=float("nan"))
    path = write_comparison(BEFORE, AFTER, compared, tmp_path / "page.html")
    text = said(path.read_text(encoding="utf-8"))
    assert "no AMI" in text
    assert "nan" not in re.findall(r"[a-z]+", text.lower())


def test_no_images_leaves_every_picture_out(tmp_path: Path) -> None:
    body = shown(page(tmp_path, images=False))
    assert "<img " not in body
    assert "left out on purpose" in body


def test_nothing_is_fetched_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    body = shown(page(tmp_path))
    targets = re.findall(r'(?:href|src)="([^"]*)"', body)
    assert all(target.startswith(("#", "data:")) for target in targets)
    ids = re.findall(r' id="([^"]*)"', body)
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)


def test_bands_are_as_wide_as_samples_are_many() -> None:
    counts = np.array([[30, 10, 0], [0, 20, 5], [5, 0, 900]])
    figure = flow(counts, ["a", "b", "c"], ["d", "e", "f"])
    bands = figure.spec["datasets"]["bands"]
    widths = {row["band"]: row["bottom"] - row["top"] for row in bands}
    assert set(widths) == {"A to A", "A to B", "B to B", "B to none", "none to A"}
    unit = widths["A to A"] / 30
    assert widths["A to B"] == pytest.approx(10 * unit, rel=1e-2)
    assert widths["none to A"] == pytest.approx(5 * unit, rel=2e-2)
    blocks = figure.spec["datasets"]["blocks"]
    high = {(row["study"], row["mechanism"]): row["bottom"] - row["top"] for row in blocks}
    assert high["first", "A"] == pytest.approx(40 * unit, rel=1e-2)
    assert high["second", "B"] == pytest.approx(30 * unit, rel=1e-2)
    assert all(0 <= row["top"] <= row["bottom"] <= 1.0001 for row in bands + blocks)
    assert "900" not in figure.description
