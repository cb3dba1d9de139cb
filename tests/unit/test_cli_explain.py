"""The commands `explain` and `compare`: what they print and write, and what they refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from neucept import cli

NETWORK = """
import torch
from neucept import planted_network

planted = planted_network(samples=600, seed=0)

def build():
    return planted.model

def other():
    return planted_network(seed=1).model

def load():
    return planted.x, planted.labels

def new():
    return planted.x[:40] + 0.1, planted.labels[:40]

def foreign():
    return 30 * torch.rand(60, planted.x.shape[1], generator=torch.Generator().manual_seed(0))
"""

QUICK = (
    *("--sampler", "gaussian", "--statistic", "lasso", "--dither", "0", "--draws", "2"),
    *(
        "--audit",
        "0",
        "--keep",
        "0",
        "--max-mechanisms",
        "2",
        "--layers",
        "second",
        "--pictures",
        "0",
        "--n-jobs",
        "1",
    ),
    *("--ablation-modes", "zero", "--ablation-samples", "4"),
)


def leave(*tokens: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main([str(token) for token in tokens])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verbs")
    (folder / "own.py").write_text(NETWORK)
    own = folder / "own.py"
    named = ("--model", f"{own}:build", "--data", f"{own}:load", "--target", "right")
    code = leave("run", *named, "--classes", "left", "right", "--to", folder / "study", *QUICK)
    assert code == 0
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "work"))
    return tmp_path / "work"


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert err == ""
    return " ".join(out.split())


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    err = capsys.readouterr().err
    assert err.startswith("neucept: ")
    assert err.count("\n") == 1
    return err


def predicted_right(work: Path, count: int) -> list[int]:
    return pd.read_parquet(work / "study" / "samples.parquet")["position"].tolist()[:count]


def test_recorded_samples_need_nothing_but_the_folder(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "own.py").unlink()
    one, two = predicted_right(work, 2)
    assert leave("explain", "study", one, two) == 0
    shown = printed(capsys)
    for position in (one, two):
        assert f"sample {position}: predicted 'right', labelled" in shown
    assert shown.count("nearest prototypes: ") == 2
    assert shown.count("nats in all") == 2
    assert "usual in A" in shown


def test_files_hold_what_the_screen_cannot(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = predicted_right(work, 3)
    assert leave("explain", "study", *rows, "--csv", "t.csv", "--json", "all.json") == 0
    printed(capsys)
    table = pd.read_csv("t.csv")
    assert table["position"].tolist() == rows
    content = json.loads(Path("all.json").read_text())
    assert [sample["position"] for sample in content["samples"]] == rows
    for sample, mechanism in zip(content["samples"], table["mechanism"], strict=True):
        assert sample["mechanism"] == mechanism
        assert len(sample["neurons"]) == 5
        assert len(sample["prototypes"]) == 3


def test_a_page_is_written_and_named(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = predicted_right(work, 2)
    assert leave("explain", "study", one, two, "--page", "two.html") == 0
    assert printed(capsys).endswith("Page: two.html")
    text = Path("two.html").read_text(encoding="utf-8")
    assert f'id="sample-{one}"' in text
    assert f'id="sample-{two}"' in text
    assert leave("explain", "study", "--all", "--page", "all.html") == 0
    printed(capsys)
    assert "are atypical" in Path("all.html").read_text(encoding="utf-8")
    assert leave("compare", "study", "study", "--page", "both.html", "--no-images") == 0
    assert printed(capsys).endswith("Page: both.html")
    assert "mechanisms are found in both" in Path("both.html").read_text(encoding="utf-8")


def test_all_samples_are_summed_up_with_how_well_errors_and_strangers_are_found(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("explain", "study", "--all", "--foreign", "own.py:foreign") == 0
    shown = printed(capsys)
    assert "of 600 samples are predicted as 'right'" in shown
    assert "Wrong predictions among those predicted as the class" in shown
    assert "Foreign inputs among those predicted as the class" in shown


def test_new_samples_bring_back_the_network_that_was_run(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = json.loads((work / "study" / "study.json").read_text())["origin"]
    assert origin == {"model": "../own.py:build", "data": "../own.py:load", "weights": None}
    assert leave("explain", "study", "4", "--data", "own.py:new", "--csv", "t.csv") == 0
    printed(capsys)
    assert not pd.read_csv("t.csv")["own"].any()
    (work / "own.py").rename(work / "moved.py")
    assert leave("explain", "study", "4", "--data", "moved.py:new") == 2
    assert "no longer loads" in refused(capsys)
    named = ("--data", "moved.py:new", "--model", "moved.py:build")
    assert leave("explain", "study", "4", *named) == 0
    printed(capsys)
    assert leave("explain", "study", "4", *named[:2], "--model", "moved.py:other") == 2
    assert "is of another network" in refused(capsys)


def test_a_study_file_names_the_network_too(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("study.toml").write_text(
        '[model]\nfactory = "own.py:build"\n[data]\nfactory = "own.py:load"\n[study]\ntarget = 1\n'
    )
    info = json.loads((work / "study" / "study.json").read_text())
    del info["origin"]
    (work / "study" / "study.json").write_text(json.dumps(info))
    new = ("explain", "study", "4", "--data", "own.py:new")
    assert leave(*new) == 2
    assert "does not say where its network came from" in refused(capsys)
    assert leave(*new, "--study-file", "study.toml") == 0
    printed(capsys)


@pytest.mark.parametrize(
    ("tokens", "answer"),
    [
        (("study",), "Name samples by position or id, or pass --all"),
        (("study", "3", "--all"), "one of the two"),
        (("study", "3", "--foreign", "own.py:foreign"), "Pass --all too"),
        (("study", "3", "--model", "own.py:build"), "need no network"),
        (("study", "5000"), "no sample 5000"),
        (("study", "owl"), "no sample called 'owl'"),
        (("study", "3", "--level", "2"), "level is 2"),
        (("study", "3", "--neurons", "0"), "most is 0"),
        (("nowhere", "3"), "holds no study"),
        (("study", "3", "--csv", "own.py/t.csv"), "Cannot write"),
        (("study", "3", "--page", "own.py/t.html"), "Cannot write"),
        (("study", "3", "--no-images"), "Pass --page too"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    work: Path, tokens: tuple[str, ...], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("explain", *tokens) == 2
    assert answer in refused(capsys)


def test_a_study_compared_with_itself(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("compare", "study", "study", "--csv", "t.csv") == 0
    shown = printed(capsys)
    assert "600 samples in both" in shown
    assert "100.0 % are predicted alike" in shown
    assert "First A persists: it is A of the second (overlap 1.00" in shown
    assert "Agreement of the mechanisms (AMI): 1.00" in shown
    table = pd.read_csv("t.csv")
    assert (table["mechanism_first"] == table["mechanism_second"]).all()


def test_what_cannot_be_compared_is_one_line(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("compare", "study", "study", "--no-images") == 2
    assert "Pass --page too" in refused(capsys)
    assert leave("compare", "study", "nowhere") == 2
    assert "holds no study" in refused(capsys)
    shutil.copytree("study", "left")
    info = json.loads(Path("left/study.json").read_text())
    info["target"] = {"index": 0, "name": "left"}
    Path("left/study.json").write_text(json.dumps(info))
    assert leave("compare", "study", "left") == 2
    assert "is of 'right', the one in 'left' of 'left'" in refused(capsys)
