"""The page as a file: self-contained, harmless, small enough, and whole for every kind of study."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from planted_study import PlantedStudy, add_metadata, planted_study

from neucept.errors import StorageError
from neucept.report import write_report
from neucept.report.charts.order import order
from neucept.report.charts.tree import tree
from neucept.report.page import LARGEST_PAGE, render
from neucept.report.reading import Subject
from neucept.report.shell import javascript, script_json
from neucept.study.contents import LATER, TABLES
from neucept.study.folder import FORMAT, KIND, Study

HOSTILE = "</script><script>window.hacked=1</script>\"'><img src=x onerror=hacked=1>&{{7*7}}"
STEERING = "\u2028\u202e\x1b[31m\x00"


class _Reader(HTMLParser):
    """Collects tags, what they refer to, and the text a reader sees."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self._silent = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._silent = tag in ("script", "style")
        for name, value in attrs:
            if name in ("src", "href"):
                self.targets.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text.append(data)


@cache
def _usual() -> str:
    return render(planted_study())


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader


def _hostile() -> PlantedStudy:
    name = HOSTILE + STEERING
    study = planted_study(
        target=name,
        classes=(name, "odd " + name),
        layers=((name + "1", 24, 7), (name + "2", 84, 12)),
        ids=[f"{name}{k}" for k in range(300)],
    )
    study.info["name"] = study.info["machine"] = name
    study.info["settings"][name] = name
    study.info["layers"][0]["message"] = name
    study.info["layers"][0]["set_aside"] = {"3": name}
    study.info["mechanisms"]["message"] = name
    study.critical.loc[0, "note"] = name
    add_metadata(study, name)
    return study


KINDS = {
    "one mechanism": {"n_mechanisms": 1},
    "nothing found": {"n_mechanisms": 0, "layers": (("fc", 84, 0),), "ablation": False},
    "no cores": {"core": False},
    "an older study, without a tree": {"tree": False, "metadata": False},
    "no metadata": {"metadata": False},
    "no labels": {"labelled": False, "target": None, "classes": None},
    "no pictures, one wide layer": {"pictures": 0, "layers": (("fc", 300, 120),)},
    "some pictures, an empty layer": {"pictures": 7, "layers": (("a", 24, 0), ("b", 24, 5))},
    "twelve mechanisms, direct": {"n_mechanisms": 12, "n_samples": 900, "route": "direct"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_study_has_a_whole_page(kind: str) -> None:
    page = render(planted_study(**KINDS[kind]))
    reader = _read(page)
    assert len(set(reader.ids)) == len(reader.ids)
    anchors = {target[1:] for target in reader.targets if target.startswith("#")}
    assert anchors <= set(reader.ids)
    text = " ".join(reader.text)
    assert "nan" not in re.findall(r"[a-z]+", text.lower())
    assert "None" not in text
    assert "Audited with targets of a known answer" in text.replace("\n", " ")
    assert "not been audited" not in text.replace("\n", " ")


def test_a_study_without_an_audit_says_so() -> None:
    text = " ".join(_read(render(planted_study(audited=False))).text)
    assert "not been audited on this network's layers yet" in text.replace("\n", " ")
    assert "Not audited on this layer yet." in text
    assert "told apart" not in text


def test_a_layer_that_fails_its_audit_is_named() -> None:
    text = " ".join(_read(render(planted_study())).text).replace("\n", " ").replace("\xa0", " ")
    assert "4 % to 21 % wrong by layer. It is not supported on classifier.0" in text
    assert "measured 21 % ± 1 % on targets with a known answer" in text
    assert "Copies and originals can be told apart with AUC 0.91 ± 0.01 (0.5 is chance)" in text


def _section(page: str, name: str) -> str:
    """What a reader sees in one section; "" where there is no such section."""
    found = re.search(rf'<section id="{name}"[^>]*>(.*?)</section>', page, flags=re.DOTALL)
    return " ".join(" ".join(_read(found[1]).text).split()) if found else ""


def test_metadata_is_told_with_the_strongest_column_first() -> None:
    page = _usual()
    text = _section(page, "associations")
    assert "scanner and age go with the mechanisms." in text
    assert "Samples of one “patient” belong together and count as one (48 in all)." in text
    columns = re.findall(r'<th scope="row">(\w+)</th><td>(?:number|category)</td>', page)
    assert columns == ["scanner", "age", "noise", "file"]
    assert "A: “site 0” 82 % (others 11 %)" in text
    assert "B: “site 1” 82 % (others 11 %) age" in text  # C's difference is not sure.
    assert "A: median 61.0 (others 52.0)" in text
    assert "0.02 p = 0.740 file" in text
    assert "set aside: it is the id" in text
    assert "The strongest: scanner." in text
    assert 'href="#associations">Metadata<' in page
    first = _section(page, "answer")
    assert "scanner goes with the mechanisms (effect 0.63 of 1, corrected p < 0.001)." in first


def test_without_metadata_the_page_has_no_section_for_it() -> None:
    page = render(planted_study(metadata=False))
    assert _section(page, "associations") == ""
    assert 'href="#associations"' not in page
    assert "Of the metadata" not in page


def test_metadata_that_goes_with_nothing_is_said_to_do_so() -> None:
    study = planted_study()
    study.associations["q_value"] = study.associations["q_value"].clip(lower=0.06)
    page = render(study)
    said = "Of the metadata, none of 4 columns goes with the mechanisms (corrected p-values, 0.05)."
    assert said in _section(page, "associations")
    assert "The strongest" not in page
    assert said in _section(page, "answer")


@pytest.mark.parametrize(("groups", "said"), [(1, "one mechanism only"), (0, "no mechanism")])
def test_metadata_needs_two_mechanisms_and_the_page_says_so(groups: int, said: str) -> None:
    page = render(planted_study(n_mechanisms=groups))
    wanted = f"There is {said}, so there is nothing that metadata could go with."
    assert _section(page, "associations") == f"What goes with them {wanted}"


def test_the_tree_says_which_merge_first_and_samples_follow_their_order() -> None:
    study = planted_study()
    figures = {figure.item: figure for figure in (*tree(Subject(study)), *order(Subject(study)))}
    assert list(figures) == ["tree", "samples"]
    assert figures["tree"].description == "Tree of 6 groups. First A and B join."
    lines = figures["tree"].spec["datasets"]["lines"]
    assert len(lines) == 3 * len(study.tree)
    within = [line for line in lines if line["group"] == "A"]
    places = study.samples.groupby("leaf")["order"].mean()
    assert [line["x"] for line in within[:2]] == pytest.approx(places.loc[[0, 1]], abs=5e-3)
    assert {line["y2"] for line in within[:3]} == {0.1}
    tops = [(label["group"], label["y"]) for label in figures["tree"].spec["datasets"]["labels"]]
    assert tops == [("A", 0.1), ("B", 0.2), ("C", 0.3)]
    points = figures["samples"].spec["datasets"]["points"]
    assert len(points) == len(study.samples)
    assert [point["order"] for point in points] == sorted(point["order"] for point in points)
    assert "".join(point["mechanism"] for point in points).rstrip("C").rstrip("B").rstrip("A") == ""
    assert 'href="#order">Order<' in _usual()
    assert "the network grows surer of “even”" in _section(_usual(), "order")


def test_a_single_mechanism_has_a_tree_of_its_own() -> None:
    study = planted_study(n_mechanisms=1)
    (figure,) = tree(Subject(study))
    assert figure.description == "Tree of 2 groups. They are all of one mechanism."
    assert {line["group"] for line in figure.spec["datasets"]["lines"]} == {"A"}
    study.tree = study.tree.iloc[:0]
    assert list(tree(Subject(study))) == []
    assert len(list(order(Subject(study)))) == 1


def test_branches_of_the_tree_never_cross() -> None:
    study = planted_study()
    # Leaves that overlap along the line, as those of a continuum do.
    study.samples["order"] = np.random.default_rng(0).permutation(len(study.samples)) / 179
    (figure,) = tree(Subject(study))
    lines = figure.spec["datasets"]["lines"]
    tops, downs = ([s for s in lines if (s["y"] == s["y2"]) is flat] for flat in (True, False))
    assert len(tops) == len(study.tree)
    for top in tops:
        for down in downs:
            inside = top["x"] < down["x"] < top["x2"]
            assert not (inside and down["y"] < top["y"] < down["y2"])


def test_a_tree_that_does_not_fit_its_samples_is_not_drawn() -> None:
    study = planted_study()
    study.samples = study.samples.assign(leaf=0)
    assert list(tree(Subject(study))) == []


@pytest.mark.parametrize("kind", [{"tree": False}, {"n_mechanisms": 0}])
def test_without_an_order_the_page_has_no_section_for_it(kind: dict[str, object]) -> None:
    page = render(planted_study(**kind))
    assert _section(page, "order") == ""
    assert 'href="#order"' not in page


def test_many_samples_are_thinned_out_along_the_order() -> None:
    study = planted_study(n_samples=9000, pictures=0)
    (figure,) = order(Subject(study))
    places = [point["order"] for point in figure.spec["datasets"]["points"]]
    assert len(places) == 1500
    assert max(np.diff(places)) < 0.02
    assert "1,500 of 5,400 samples are drawn" in figure.caption


def test_the_cards_say_what_a_cut_takes_and_the_matrix_has_every_pair() -> None:
    text = _section(_usual(), "mechanisms").replace("\xa0", " ")
    first = "A cut of neurons 3 and 17 of classifier.0 takes 83 % (81 % to 88 %) of A's predictions"
    assert f"{first}, and at most 4 % (2 % to 9 %) of another's (C). A loses 88 %" in text
    assert "A cut of neuron 4 of classifier.0 takes 83 % (81 % to 88 %) of B's" in text
    assert "No cut of its own: No set did." in text
    matrix = "cut of samples of A samples of B samples of C A 83 % (81 % to 88 %) 3 % (1 % to 8 %)"
    assert matrix in text
    assert _usual().count("<table") == _usual().count("</table>")


def test_a_study_without_cuts_says_nothing_of_them() -> None:
    study = planted_study()
    del study.info["selectivity"]
    study.selectivity = study.selectivity.iloc[:0]
    page = render(study)
    assert "cut of" not in _section(page, "mechanisms").lower()


def test_cuts_that_could_not_be_looked_for_say_why() -> None:
    study = planted_study()
    study.info["selectivity"] = {"layer": "", "message": "Give more samples.", "cuts": []}
    study.selectivity = study.selectivity.iloc[:0]
    text = _section(render(study), "mechanisms")
    assert "No cut takes one mechanism and spares the others. Give more samples." in text


def test_two_mechanisms_name_the_one_other() -> None:
    text = _section(render(planted_study(n_mechanisms=2)), "mechanisms").replace("\xa0", " ")
    assert "of A's predictions, and 3 % (1 % to 8 %) of B's." in text


def test_the_page_says_how_well_low_typicality_finds_wrong_predictions() -> None:
    text = _section(_usual(), "doubt")
    assert "AUROC 0.81 ± 0.03 (0.5 is chance)" in text
    assert "of the 30 wrong ones 40 % are atypical" in text
    assert "of the 150 right ones 4 %" in text
    assert "hardly tells" not in text
    assert 'href="#doubt">Doubt<' in _usual()
    study = planted_study()
    study.info["reliability"]["auroc"] = 0.55
    assert "hardly tells wrong from right here" in _section(render(study), "doubt")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (0, "None of the 180 labelled samples is wrongly predicted"),
        (9, "Only 9 of the 180 labelled samples are wrongly predicted, too few"),
        (1, "Only 1 of the 180 labelled samples is wrongly predicted, too few"),
        (175, "Only 5 of the 180 labelled samples are rightly predicted, too few"),
        (180, "None of the 180 labelled samples is rightly predicted"),
    ],
)
def test_too_few_wrong_predictions_are_said_to_be_too_few(wrong: int, said: str) -> None:
    page = render(planted_study(wrong=wrong))
    assert said in _section(page, "doubt")
    assert "AUROC" not in _section(page, "doubt")
    assert "Wrong by typicality" not in page


def test_without_labels_nothing_is_said_of_wrong_predictions() -> None:
    page = render(planted_study(labelled=False))
    assert _section(page, "doubt") == ""
    assert 'href="#doubt"' not in page


def test_nothing_is_fetched_from_anywhere() -> None:
    page = _usual()
    reader = _read(page)
    assert {"link", "iframe", "object", "embed", "base"} & set(reader.tags) <= {"link"}
    assert all(t.startswith(("#", "data:")) for t in reader.targets)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]


def test_only_our_own_two_scripts_may_run() -> None:
    page = _usual()
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert len(scripts) == 2
    policy = re.search(r"script-src ([^;]+);", unescape(page))
    assert policy is not None
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]


def test_the_bundle_cannot_end_its_own_element() -> None:
    bundle = javascript()
    assert "</script" not in bundle.lower()
    assert "<!--" not in bundle


def test_hostile_names_stay_text() -> None:
    page = render(_hostile())
    reader = _read(page)
    usual = _read(_usual())
    assert sorted(set(reader.tags)) == sorted(set(usual.tags))
    assert reader.tags.count("script") == usual.tags.count("script")
    assert reader.handlers == []
    assert "{{7*7}}" in "".join(reader.text)
    assert not any(c in page for c in ("\u2028", "\u202e", "\x1b", "\x00"))


def test_data_in_the_page_reads_back_and_cannot_leave_its_element() -> None:
    value = {"name": HOSTILE, "rows": [1, None, "ü\u2029"], "<k>": "&"}
    text = str(script_json(value))
    assert text.isascii()
    assert not set("<>&") & set(text)
    back = json.loads(text)
    assert back["name"] == HOSTILE
    assert back["rows"] == [1, None, "ü\ufffd"]


def test_data_in_the_page_refuses_what_json_cannot_say() -> None:
    with pytest.raises(ValueError, match="JSON"):
        script_json({"x": float("nan")})


def test_images_off_shows_no_input_and_keeps_ids() -> None:
    study = planted_study()
    page = render(study, images=False)
    assert "img" not in _read(page).tags
    assert "data:image" not in page.replace('"data:image/webp;base64," + stored', "")
    encoded = [base64.b64encode(content).decode() for content in study.pictures.values()]
    assert not any(text in page for text in encoded)
    assert study.samples["id"].iloc[0] in page


def test_a_page_of_a_thousand_thumbnails_stays_under_six_megabytes(tmp_path: Path) -> None:
    study = planted_study(n_samples=1667, pictures=1000)
    path = write_report(study, tmp_path / "report.html")
    assert len(study.pictures) == 1000
    assert path.stat().st_size < 6_000_000
    pictures = json.loads(_script(path.read_text(encoding="utf-8"), "pictures"))
    assert len(pictures) == 1000


def test_too_many_pictures_give_way_and_the_page_says_so() -> None:
    study = planted_study(n_samples=9000, pictures=0)
    content = np.random.default_rng(0).bytes(4000)
    study.pictures = {int(p): content for p in study.samples["position"]}
    page = render(study)
    assert len(page.encode()) <= LARGEST_PAGE
    pictures = json.loads(_script(page, "pictures"))
    prototypes = [p for row in study.mechanisms["prototypes"] for p in json.loads(row)]
    assert {str(p) for p in prototypes} <= set(pictures)
    assert f"{len(pictures):,} of the 5,000 points have a picture" in page
    spread = sorted(int(p) for p in pictures)
    assert spread[-1] > 8000
    assert np.median(spread) == pytest.approx(4500, abs=600)


def test_the_page_repeats_bit_by_bit() -> None:
    assert render(planted_study()) == _usual()


def test_the_page_is_made_from_the_folder_alone(tmp_path: Path) -> None:
    planted = planted_study()
    folder = tmp_path / "study"
    (folder / "thumbnails").mkdir(parents=True)
    for table in (*TABLES, *LATER):
        getattr(planted, table).to_parquet(folder / f"{table}.parquet", index=False)
    for position, content in planted.pictures.items():
        (folder / "thumbnails" / f"{position:06d}.webp").write_bytes(content)
    info = {**planted.info, "kind": KIND, "format": FORMAT, "finished": True, "stages": {}}
    (folder / "study.json").write_text(json.dumps(info))
    study = Study.open(folder)
    path = write_report(study, folder / "report.html")
    assert path == folder / "report.html"
    assert path.read_text(encoding="utf-8") == _usual()


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr("neucept.report.page.render", lambda *_, **__: "new")
    with pytest.raises(StorageError, match="No space left"):
        write_report(planted_study(), path)
    assert path.read_text() == "old"


def _script(page: str, name: str) -> str:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page)
    assert found is not None
    return found[1]
