"""The command line: what it prints where, its exit codes, and that flags go before the file."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import rich.console
from cyclopts import App
from planted_study import planted_study

import neucept
from neucept import cli
from neucept.cli import screen
from neucept.cli.summary import show
from neucept.errors import StorageError
from neucept.study import run as study_run
from neucept.study.settings import StudySettings

NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))

def load():
    return torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64)
"""

STUDY = """
[model]
factory = "own.py:build"
[data]
factory = "own.py:load"
classes = ["cat", "dog"]
[study]
target = "dog"
to = "there"
fdr = 0.3
layers = ["0", "2"]
draws = 5
route = "direct"
split = true
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own.py").write_text(NETWORK)
    (tmp_path / "study.toml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def leave(*tokens: str) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(list(tokens))
    assert isinstance(left.value.code, int)
    return left.value.code


class Called(Exception):
    """Carries what `run_study` was called with."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs `neucept run` with the given words and tells what study was asked for."""

    def spy(
        model: object, data: object, target: int, to: Path, settings: object, **more: Any
    ) -> None:
        raise Called({"target": target, "to": to, "settings": settings, **more})

    def ask(*tokens: str) -> dict[str, Any]:
        monkeypatch.setattr(study_run, "run_study", spy)
        with pytest.raises(Called) as called:
            cli.app()(["run", *tokens], exit_on_error=False, print_error=False)
        told = called.value.args[0]
        assert isinstance(told, dict)
        return told

    return ask


def test_a_study_file_says_everything(folder: Path, asked: Callable[..., dict[str, Any]]) -> None:
    told = asked("study.toml")
    assert told["target"] == 1
    assert told["to"] == folder / "there"
    assert told["classes"] == ("cat", "dog")
    assert told["settings"] == StudySettings(
        fdr=0.3, layers=("0", "2"), draws=5, route="direct", split=True
    )


def test_metadata_is_read_from_the_file_that_is_named(
    folder: Path, asked: Callable[..., dict[str, Any]]
) -> None:
    assert (asked("study.toml")["metadata"], asked("study.toml")["groups"]) == (None, None)
    (folder / "ages.csv").write_text("age,who\n1,a\n2,b\n")
    (folder / "sizes.csv").write_text("size\n5\n")
    lines = 'classes = ["cat", "dog"]\nmetadata = "ages.csv"\ngroups = "who"'
    (folder / "study.toml").write_text(STUDY.replace('classes = ["cat", "dog"]', lines))
    told = asked("study.toml")
    assert told["metadata"].to_dict("list") == {"age": [1, 2], "who": ["a", "b"]}
    assert told["groups"] == "who"
    told = asked("study.toml", "--metadata", "sizes.csv", "--groups", "size")
    assert (list(told["metadata"].columns), told["groups"]) == (["size"], "size")


def test_a_dataset_brings_its_metadata_unless_a_file_is_named(
    folder: Path, asked: Callable[..., dict[str, Any]]
) -> None:
    own = (
        NETWORK.partition("def load")[0]
        + """
import pandas
from torch.utils.data import TensorDataset

def load():
    data = TensorDataset(torch.zeros(5, 3))
    data.metadata = pandas.DataFrame({"own": range(5)})
    return data
"""
    )
    (folder / "own.py").write_text(own)
    (folder / "sizes.csv").write_text("size\n5\n")
    assert list(asked("study.toml")["metadata"].columns) == ["own"]
    told = asked("study.toml", "--metadata", "sizes.csv")
    assert list(told["metadata"].columns) == ["size"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--metadata", "none.csv"), "There is no metadata file 'none.csv'"),
        (("--metadata", "own.py"), "ends in .csv or .parquet"),
        (("--groups", "who"), "groups is 'who', the name of a column, but there is no metadata"),
        (("--metadata", "ages.csv", "--groups", "wha"), "no column 'wha' for groups. Did you mean"),
    ],
)
def test_bad_metadata_ends_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], said: str
) -> None:
    (folder / "ages.csv").write_text("age,who\n1,a\n2,b\n")
    assert leave("run", "study.toml", *flags) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (folder / "there").exists()


def test_flags_go_before_the_file_also_when_they_name_the_default(
    folder: Path, asked: Callable[..., dict[str, Any]]
) -> None:
    told = asked(
        "study.toml", "--fdr", "0.1", "--draws", "auto", "--no-split", "--target", "cat",
        "--to", "elsewhere", "--layers", "0", "--seed", "7",
    )  # fmt: skip
    assert told["target"] == 0
    assert told["to"] == Path("elsewhere")
    assert told["settings"] == StudySettings(layers=("0",), route="direct", seed=7)


def test_flags_do_without_a_file(folder: Path, asked: Callable[..., dict[str, Any]]) -> None:
    told = asked("--model", "own.py:build", "--data", "own.py:load", "--target", "1")
    assert told["target"] == 1
    assert told["classes"] is None
    assert told["to"] == Path("study")
    assert told["settings"] == StudySettings()


def test_several_layers_and_classes_follow_one_flag(
    folder: Path, asked: Callable[..., dict[str, Any]]
) -> None:
    told = asked(
        "--model", "own.py:build", "--data", "own.py:load", "--target", "owl",
        "--classes", "cat", "owl", "--layers", "0", "2",
    )  # fmt: skip
    assert told["classes"] == ("cat", "owl")
    assert told["target"] == 1
    assert told["settings"].layers == ("0", "2")


def test_two_classes_ask_for_a_contrast(folder: Path, asked: Callable[..., dict[str, Any]]) -> None:
    assert asked("study.toml", "--target", "cat", "dog")["target"] == (0, 1)
    assert asked("study.toml", "--target", "dog", "--target", "0")["target"] == (1, 0)
    text = STUDY.replace('target = "dog"', 'target = ["dog", 0]')
    (folder / "study.toml").write_text(text)
    assert asked("study.toml")["target"] == (1, 0)
    assert asked("study.toml", "--target", "cat")["target"] == 0
    named = STUDY.replace('["cat", "dog"]', '["cat/dog", "wild cat"]')
    (folder / "study.toml").write_text(named.replace('"dog"', '["wild cat", "cat/dog"]'))
    assert asked("study.toml")["target"] == (1, 0)


def test_a_study_file_may_stand_behind_the_target(
    folder: Path, asked: Callable[..., dict[str, Any]]
) -> None:
    assert asked("--target", "cat", "study.toml")["target"] == 0
    assert asked("--target", "cat", "dog", "study.toml")["target"] == (0, 1)
    assert asked("--target", "cat", "--seed", "3", "study.toml")["settings"].seed == 3


@pytest.mark.parametrize(
    ("classes", "answer"),
    [
        (("cat", "cat"), "names the class 'cat' twice"),
        (("cat", "dgo"), "Did you mean 'dog'?"),
        (("cat", "dog", "cat"), "one class, or a pair"),
    ],
)
def test_what_is_no_contrast_is_refused_in_one_line(
    folder: Path, classes: tuple[str, ...], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("run", "study.toml", "--target", *classes) == 2
    err = capsys.readouterr().err
    assert answer in err
    assert err.count("\n") == 1


def test_a_local_study_is_asked_for_by_the_id_of_a_sample(
    folder: Path, asked: Callable[..., dict[str, Any]]
) -> None:
    told = asked("study.toml", "--samples", "near", "--near", "0017", "--neighbours", "500")
    settings = told["settings"]
    assert (settings.samples, settings.near, settings.neighbours) == ("near", "0017", 500)
    assert (
        asked("study.toml", "--samples", "near", "--near", "a/b.png")["settings"].near == "a/b.png"
    )
    (folder / "study.toml").write_text(f'{STUDY}samples = "near"\nnear = 17\n')
    assert asked("study.toml")["settings"].search.near == "17"


def test_an_index_in_the_file_is_an_index_also_where_names_are_digits(
    folder: Path, asked: Callable[..., dict[str, Any]]
) -> None:
    text = STUDY.replace('["cat", "dog"]', '["1", "0"]').replace('target = "dog"', "target = 0")
    (folder / "study.toml").write_text(text)
    assert asked("study.toml")["target"] == 0


def test_every_setting_is_a_flag_and_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("run", "--help") == 0
    shown = capsys.readouterr().out
    for field in fields(StudySettings):
        assert f"--{field.name.replace('_', '-')} " in shown


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ('seed = "high"', "seed is 'high'"),
        ("seed = 1.5", "seed is 1.5"),
        ("n_jobs = true", "n_jobs is True"),
        ("pictures = {a = 3}", "pictures is {'a': 3}"),
    ],
)
def test_types_in_the_file_are_judged_as_toml_has_them(
    folder: Path, line: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "study.toml").write_text(f"{STUDY}{line}\n")
    assert leave("run", "study.toml") == 2
    err = capsys.readouterr().err
    assert answer in err
    assert err.count("\n") == 1


def test_half_a_whole_number_is_not_rounded(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("run", "--seed", "1.5") == 2
    assert "--seed is 1.5. Pass a whole number." in capsys.readouterr().err


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("run", "--data", "own.py:load") == 2
    assert "--model, --target missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tokens", "answer"),
    [
        (("rum",), 'Did you mean "run"?'),
        (("run", "--drwas", "3"), "Did you mean --draws?"),
        (("layers",), "MODEL"),
        (("report",), "STUDY"),
        (("report", "nowhere", "more"), "more"),
        (("run", "--fdr", "high"), "high"),
    ],
)
def test_usage_errors_fit_one_line(
    tokens: tuple[str, ...], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(*tokens) == 2
    err = capsys.readouterr().err
    assert err.startswith("neucept: ")
    assert err.count("\n") == 1
    assert answer in err


def test_version_and_bare_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("--version") == 0
    assert capsys.readouterr().out == f"{neucept.__version__}\n"
    assert leave() == 0
    assert "Usage: neucept" in capsys.readouterr().out


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Iterator[None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(study_run, "run_study", fail)
        yield


RUN = ("run", "study.toml")


def test_the_users_mistake_is_one_line_without_traceback(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with failing(monkeypatch, StorageError("Cannot write\n\x1b[31m'here'.")):
        assert leave(*RUN) == 2
    assert capsys.readouterr().err == "neucept: Cannot write \ufffd[31m'here'.\n"


def test_a_bug_asks_to_be_reported_and_shows_where(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with failing(monkeypatch, ZeroDivisionError("oh")):
        assert leave(*RUN) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError: oh" in err
    assert err.splitlines()[-1].startswith("neucept: this is a bug in neucept. Please report")


def test_an_interrupt_says_that_the_study_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with failing(monkeypatch, KeyboardInterrupt()):
        assert leave(*RUN) == 130
    err = capsys.readouterr().err
    assert "the same command goes on from there" in err
    assert err.count("\n") == 1


def test_layers_are_listed_from_a_shape_or_from_data(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("layers", "own.py:build", "--example", "2,3") == 0
    by_shape = capsys.readouterr().out
    assert [line.split()[0] for line in by_shape.splitlines()] == ["layer", "0", "1", "2"]
    assert by_shape.splitlines()[1].split()[1] == "linear"
    assert leave("layers", "own.py:build", "--data", "own.py:load") == 0
    assert capsys.readouterr().out == by_shape


@pytest.mark.parametrize("shape", ["", "a,b", "0,3", "(-1,3)", "1.5,3", "1,,3"])
def test_a_shape_that_is_none(folder: Path, shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("layers", "own.py:build", "--example", shape) == 2
    assert "shape of a batch" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--example", "1,3", "--data", "own.py:load")])
def test_layers_need_one_example(
    folder: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("layers", "own.py:build", *more) == 2
    assert "either --example" in capsys.readouterr().err


def test_without_a_terminal_each_stage_is_a_line_on_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with screen.progress() as advance:
        for done in range(1, 4):
            advance("capture", done, 3)
        advance("odd\x1b[2Jname", 1, 1)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "capture ..."
    assert lines[1].startswith("capture: 3 done in ")
    assert lines[2] == "odd\ufffd[2Jname ..."
    assert err == ""


def test_a_long_stage_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 10.0, 40.0, 50.0])
    monkeypatch.setattr(screen, "monotonic", lambda: next(clock))
    with screen.progress() as advance:
        for done in (0, 1, 4, 5):
            advance("capture", done, 8)
    assert capsys.readouterr().out.splitlines() == [
        "capture ...",
        "capture: 4 of 8, about 40 s left",
    ]


def test_what_was_done_before_the_first_word_does_not_speed_up_the_estimate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([100.0, 200.0])
    monkeypatch.setattr(screen, "monotonic", lambda: next(clock))
    with screen.progress() as advance:
        for done in (1, 2):
            advance("ablation", done, 8)
    assert "ablation: 2 of 8, about 600 s left" in capsys.readouterr().out


def test_a_stage_of_unknown_length_says_how_much_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 10.0, 40.0])
    monkeypatch.setattr(screen, "monotonic", lambda: next(clock))
    with screen.progress() as advance:
        for done in (256, 512, 2048):
            advance("capture", done, 0)
    assert capsys.readouterr().out.splitlines() == ["capture ...", "capture: 2,048"]


def terminal_on_stderr(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Makes stderr a terminal; called in the test, since pytest sets stderr anew before it."""
    screen_of_glass = io.StringIO()
    monkeypatch.setattr(screen_of_glass, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(screen.sys, "stderr", screen_of_glass)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return screen_of_glass


def test_a_bar_of_unknown_length_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_on_stderr(monkeypatch)
    with screen.progress() as advance:
        advance("capture", 256, 0)
        advance("capture", 512, 0)
    assert "512/?" in terminal.getvalue()
    assert "done" not in terminal.getvalue()


def test_on_a_terminal_bars_go_to_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = terminal_on_stderr(monkeypatch)
    with screen.progress() as advance:
        advance("capture", 1, 3)
        advance("[bold]odd", 2, 3)
        advance("capture", 3, 3)
    assert "capture" in terminal.getvalue()
    assert "[bold]odd" in terminal.getvalue()
    assert "2/3" in terminal.getvalue()
    assert "capture: 3 done in " in terminal.getvalue()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand\r more", "two lines and more"),
        ("\x1b]0;title\x07", "\ufffd]0;title\ufffd"),
        ("\x9b31m", "\ufffd31m"),
        ("left\u202eright", "left\ufffdright"),
        ("\udcff", "\ufffd"),
        ("caf\u00e9 \u732b", "caf\u00e9 \u732b"),
    ],
)
def test_text_cannot_steer_the_terminal(text: str, shown: str) -> None:
    assert screen.one_line(text) == shown


@pytest.mark.parametrize(
    ("core", "headings", "sizes"),
    [
        (True, "core critical neurons of the core", "4 12 of 84"),
        (False, "critical neurons, most evidence first", "classifier.0 12 of 84"),
    ],
)
def test_a_finished_run_tells_how_large_the_cores_are(
    core: bool, headings: str, sizes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(planted_study(core=core, pictures=0), Path("report.html"))
    shown = " ".join(capsys.readouterr().out.split())
    assert headings in shown
    assert sizes in shown


def test_a_finished_run_tells_what_goes_with_the_mechanisms(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(planted_study(pictures=0), Path("report.html"))
    shown = " ".join(capsys.readouterr().out.split())
    assert "scanner goes with the mechanisms (effect 0.63 of 1, corrected p < 0.001). A:" in shown
    show(planted_study(pictures=0, metadata=False), Path("report.html"))
    assert "goes with the mechanisms" not in capsys.readouterr().out


def test_names_are_never_read_as_markup() -> None:
    out = rich.console.Console(file=io.StringIO(), markup=False, width=60)
    shown = screen.table(("layer",))
    shown.add_row(*screen.cells("[red]fc1[/red]\x1b[0m"))
    out.print(shown)
    assert "[red]fc1[/red]\ufffd[0m" in out.file.getvalue()  # type: ignore[attr-defined]


def test_each_command_is_the_function_or_app_of_its_name() -> None:
    for name in cli.COMMANDS:
        command = cli.app()[name]
        assert isinstance(command, App)
        assert command.name[0] == name


def test_help_starts_without_the_numerical_libraries() -> None:
    code = (
        "import sys, json\n"
        "from neucept.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(json.dumps([m for m in ('torch', 'pandas', 'altair', 'zarr') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_a_reader_that_leaves_early_sees_no_traceback() -> None:
    code = "from neucept.cli import main; main(['run', '--help'])"
    done = subprocess.run(
        f'"{sys.executable}" -c "{code}" | head -c 1',
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
