"""How the page of a study leads to the command that explains one sample."""

from __future__ import annotations

import shlex

from planted_study import planted_study

from neucept.report.asking import MOST_ASKED, asking, command
from neucept.report.page import render
from neucept.report.reading import Subject


def test_borderline_samples_are_named_the_least_sure_first() -> None:
    study = planted_study(n_samples=900)
    own = study.samples
    own.loc[own.index[:30], "membership"] = [0.5 + k / 200 for k in range(30)]
    unclear = own[own["membership"] < 0.8].sort_values("membership")
    found = asking(Subject(study))
    assert found is not None
    assert len(found.samples) == MOST_ASKED < len(unclear)
    assert [one.name for one in found.samples] == unclear["id"].tolist()[:MOST_ASKED]
    assert f"{len(unclear)}\xa0samples are borderline; the {MOST_ASKED} least sure:" == found.note
    page = render(study)
    assert 'href="#asking"' in page
    assert 'id="asking"' in page


def test_the_command_names_a_typical_sample() -> None:
    study = planted_study()
    subject = Subject(study)
    words = shlex.split(asking(subject).command)
    assert words[:3] == ["neucept", "explain", "STUDY"]
    assert words[3] == subject.ids[subject.typical[0]]


def test_ids_are_quoted_and_those_that_steer_are_not_used() -> None:
    names = ["a b", "x; rm -rf y", "it's", "\x1b[31m", "--all"] + [str(k) for k in range(5, 300)]
    subject = Subject(planted_study(ids=names))
    told = [shlex.split(command(subject, position))[3] for position in (0, 1, 2)]
    assert told == names[:3]
    bad = planted_study(ids=["\x1b[31m", "--all", "-x"] + [str(k) for k in range(3, 300)])
    assert [shlex.split(command(Subject(bad), k))[3] for k in (0, 1, 2)] == ["0", "1", "2"]


def test_one_mechanism_has_no_borderline_and_none_has_no_command() -> None:
    one = asking(Subject(planted_study(n_mechanisms=1)))
    assert one is not None
    assert one.samples == ()
    assert one.note == ""
    assert 'href="#asking"' not in render(planted_study(n_mechanisms=1))
    empty = planted_study(n_mechanisms=0, layers=(("fc", 84, 0),), ablation=False)
    assert asking(Subject(empty)) is None
    assert 'id="asking"' not in render(empty)


def test_no_images_leaves_the_pictures_out() -> None:
    study = planted_study()
    study.samples.loc[study.samples.index[:3], "membership"] = 0.5
    assert all(one.picture for one in asking(Subject(study)).samples)
    assert not any(one.picture for one in asking(Subject(study, images=False)).samples)
