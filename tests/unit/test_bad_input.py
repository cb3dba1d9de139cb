"""Every mistake a user can make ends in one line, exit code 2, and with nothing written over."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from neucept.cli import main

OWN = """
import torch
from torch import nn
from torch.utils.data import Dataset

SAMPLES = 160

def build():
    torch.manual_seed(0)
    hidden = nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 8), nn.Tanh()
    network = nn.Sequential(*hidden, nn.Linear(8, 3))
    with torch.no_grad():
        network[4].weight[2].zero_()
        network[4].bias.copy_(torch.tensor([0.15, 0.0, -50.0]))
    return network

def inputs():
    return torch.randn(SAMPLES, 6, generator=torch.Generator().manual_seed(1))

def load():
    x = inputs()
    return x, (x[:, 0] > 0).long()
"""

STUDY = """
[model]
factory = "own.py:build"
[data]
factory = "own.py:load"
classes = ["cat", "dog", "mouse"]
[study]
target = "cat"
draws = 2
dither = 0.0
floor = 0.1
audit = 0
keep = 0
max_mechanisms = 2
ablation_modes = ["zero"]
ablation_samples = 10
pictures = 1
n_jobs = 1
"""

RUN = ("run", "study.toml")


@dataclass(frozen=True)
class Case:
    """One mistake.

    Args:
        answer: What the one line must say, in order; parts are divided by ``|``.
        study: Replacements in the study file.
        own: Code that takes the place of a function in ``own.py``, or is added to it.
        tokens: The command.
        prepare: Changes the folder before the command.
        finished: Whether a finished study lies in the folder from before.
    """

    answer: str
    study: tuple[tuple[str, str], ...] = ()
    own: str = ""
    tokens: tuple[str, ...] = RUN
    prepare: Callable[[Path], object] = field(default=lambda folder: None)
    finished: bool = False


def setting(line: str, answer: str) -> Case:
    """A wrong line in [study], met with a finished study in the folder."""
    return Case(answer, study=(("n_jobs = 1", f"n_jobs = 1\n{line}"),), finished=True)


def instead(old: str, new: str, answer: str) -> Case:
    """A wrong text in the study file, met with a finished study in the folder."""
    return Case(answer, study=((old, new),), finished=True)


def data(code: str, answer: str) -> Case:
    """A data factory that gives something else."""
    return Case(answer, own=code)


def model(code: str, answer: str) -> Case:
    """A model factory that gives something else; `Own` is a network to derive from."""
    return Case(answer, own=OWN_MODULE + code)


OWN_MODULE = """
class Own(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act = nn.Linear(6, 10), nn.Tanh()
        self.last = nn.Linear(10, 3)

    def forward(self, x):
        return self.last(self.act(self.first(x)))

def build():
    return Own()
"""


def weights(prepare: Callable[[Path], object], answer: str) -> Case:
    """A weights file that cannot be used."""
    return Case(
        answer,
        study=(('factory = "own.py:build"', 'factory = "own.py:build"\nweights = "w.pt"'),),
        prepare=prepare,
        finished=True,
    )


def cut_weights(folder: Path) -> None:
    torch.save({"0.weight": torch.zeros(10, 6)}, folder / "w.pt")
    whole = (folder / "w.pt").read_bytes()
    (folder / "w.pt").write_bytes(whole[: len(whole) // 2])


def sized_weights(neurons: int) -> dict[str, torch.Tensor]:
    shapes = {"0": (neurons, 6), "2": (8, 10), "4": (3, 8)}
    state = {f"{name}.weight": torch.zeros(shape) for name, shape in shapes.items()}
    return state | {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}


def study_json(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        path = folder / "study" / "study.json"
        info = json.loads(path.read_text())
        change(info)
        path.write_text(json.dumps(info))

    return prepare


def half_written(folder: Path) -> None:
    path = folder / "study" / "study.json"
    path.write_bytes(path.read_bytes()[:100])


def foreign_folder(folder: Path) -> None:
    (folder / "study").mkdir()
    (folder / "study" / "thesis.tex").write_text("years of work")


def foreign_study_file(folder: Path) -> None:
    (folder / "study").mkdir()
    (folder / "study" / "study.json").write_text('{"format": 1, "project": "mine"}')
    (folder / "study" / "report.html").write_text("years of work")


def without_column(folder: Path) -> None:
    path = folder / "study" / "mechanisms.parquet"
    pd.read_parquet(path).drop(columns="share").to_parquet(path)


def plain_file(folder: Path) -> None:
    (folder / "study").write_text("years of work")


CASES = {
    # layers
    "unknown layer": setting('layers = ["4", "22"]', "Layer '22'|'2'"),
    "a pattern is no layer": setting('layers = ["*"]', "Layer '*'|0"),
    "layer named twice": setting('layers = ["2", "2"]', "layers|'2'|twice"),
    "no layers": setting("layers = []", "layers|empty"),
    "layer called twice": Case(
        "'act'|2 times",
        own=OWN_MODULE
        + """
class Twice(Own):
    def forward(self, x):
        return self.last(self.act(self.act(self.first(x))))

def build():
    return Twice()
""",
        study=(("n_jobs = 1", 'layers = ["act"]\nn_jobs = 1'),),
    ),
    "layer never called": Case(
        "Layer 'spare'|not run",
        own=OWN_MODULE
        + """
class Spare(Own):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(3, 3)

def build():
    return Spare()
""",
        study=(("n_jobs = 1", 'layers = ["spare"]\nn_jobs = 1'),),
    ),
    # settings
    "fdr of 0": setting("fdr = 0", "fdr is 0|between 0 and 1"),
    "fdr of 1": setting("fdr = 1.0", "fdr is 1.0|between 0 and 1"),
    "fdr not a number": setting("fdr = nan", "fdr is nan|between 0 and 1"),
    "fdr as text": setting('fdr = "high"', "fdr|high"),
    "negative seed": setting("seed = -1", "seed is -1|at least 0"),
    "half a seed": setting("seed = 1.5", "seed|1.5"),
    "ablation named twice": instead('["zero"]', '["zero", "zero"]', "ablation_modes|'zero'|twice"),
    "no draws": instead("draws = 2", "draws = 0", "draws is 0|from 1 to 10000"),
    "no batches": setting("batch_size = 0", "batch_size is 0|at least 1"),
    "unknown route": setting('route = "chian"', "route|chian|chain"),
    "unknown pooling": setting('pool = "men"', "pool|men|mean"),
    "unknown ablation": instead('["zero"]', '["zreo"]', "ablation_modes|zreo|zero"),
    "unknown sampler": setting('sampler = "gausian"', "'gausian'|Did you mean 'gaussian'?"),
    "unknown statistic": setting('statistic = "laso"', "'laso'|Did you mean 'lasso'?"),
    "too many knockoffs": setting("knockoffs = 101", "knockoffs is 101|from 1 to 100"),
    "device that is not there": setting('device = "cuda:99"', "cuda:99"),
    "device misspelt": setting('device = "gpu"', "gpu"),
    "flag out of range": Case("fdr is 2.0", tokens=(*RUN, "--fdr", "2"), finished=True),
    # the study file
    "unknown key": setting("frd = 0.2", "'frd'|Did you mean 'fdr'?"),
    "unknown section": instead("[data]", "[date]", "'date'|Did you mean 'data'?"),
    "unreadable TOML": instead("[data]", "[data", "not TOML|line"),
    "no study file": Case("no.toml", tokens=("run", "no.toml"), finished=True),
    "factory without a name": instead("own.py:build", "own.py", "own.py|file.py:function"),
    "file misspelt": instead("own.py:build", "onw.py:build", "onw.py|Did you mean 'own.py'?"),
    "factory misspelt": instead("own.py:build", "own.py:biuld", "Did you mean 'build'?"),
    "module not installed": instead("own.py:build", "ownn.nets:build", "no module 'ownn'"),
    # the class
    "unknown class": instead('"cat"\n', '"cta"\n', "'cta'|Did you mean 'cat'?"),
    "class index too large": instead('target = "cat"', "target = 3", "3|from 0 to 2"),
    "class beyond the outputs": Case(
        "5|3 classes",
        study=(('target = "cat"', "target = 5"), ('classes = ["cat", "dog", "mouse"]', "")),
    ),
    "class name without names": Case(
        "'cat'|--classes", study=(('classes = ["cat", "dog", "mouse"]', ""),)
    ),
    "too few class names": Case("2 class names|3", study=((', "mouse"', ""),)),
    "nothing predicted as the class": Case(
        "0 of 160 samples|'mouse'|at least", study=(('target = "cat"', 'target = "mouse"'),)
    ),
    "fewer samples than needed": data(
        "def load():\n    return inputs()[:12]\n", "of 12 samples|at least"
    ),
    # samples
    "empty data": data("def load():\n    return inputs()[:0]\n", "no samples"),
    "labels of another length": data(
        "def load():\n    return inputs(), torch.zeros(7, dtype=torch.int64)\n", "160|7 labels"
    ),
    "labels that are no classes": data(
        "def load():\n    return inputs(), torch.rand(SAMPLES)\n", "labels|float32|whole number"
    ),
    "labels beyond the classes": data(
        "def load():\n    return inputs(), torch.full((SAMPLES,), 5)\n",
        "'0' has label 5|classes 0 to 2",
    ),
    "labels below the classes": data(
        "def load():\n    return inputs(), torch.arange(SAMPLES) % 3 - 1\n",
        "'0' has label -1|classes 0 to 2",
    ),
    "data that is random": data(
        """
class Noisy(Dataset):
    def __len__(self): return SAMPLES
    def __getitem__(self, i): return inputs()[i] + torch.randn(6), 0

def load():
    return Noisy()
""",
        "other values each time|Switch the randomness off",
    ),
    "a loader that yields strings": data(
        "def load():\n    return [['a', 'b'], ['c', 'd']]\n", "Batch 0|str"
    ),
    "a dataset of strings": data(
        """
class Words(Dataset):
    def __len__(self): return 40
    def __getitem__(self, i): return "word", 0

def load():
    return Words()
""",
        "str",
    ),
    "samples of different sizes": data(
        """
class Ragged(Dataset):
    def __len__(self): return 40
    def __getitem__(self, i): return torch.zeros(6 + i % 2), 0

def load():
    return Ragged()
""",
        "shape",
    ),
    "a sample that cannot be read": data(
        """
class Broken(Dataset):
    def __len__(self): return 40
    def __getitem__(self, i):
        if i == 33:
            raise ValueError("cannot identify image file")
        return inputs()[i], 0

def load():
    return Broken()
""",
        "ValueError|cannot identify image file",
    ),
    "data that can be read once": data(
        "def load():\n    return iter([inputs()])\n", "only once|again"
    ),
    "NaN in a sample": data(
        "def load():\n    x = inputs()\n    x[17, 2] = float('nan')\n    return x\n",
        "'17'|nan|layer",
    ),
    "no data returned": data("def load():\n    pass\n", "nothing (None)"),
    "data factory raises": data(
        "def load():\n    raise FileNotFoundError('images.zip')\n",
        "own.py:load' raised: FileNotFoundError: images.zip|own.py:",
    ),
    # the network
    "infinite activations": model(
        """
def build():
    network = Own()
    with torch.no_grad():
        network.first.weight[3] = 0.0
        network.first.weight[3, 0] = 3e38
    return network
""",
        "gives|inf|layer 'first', neuron 3",
    ),
    "all neurons constant": model(
        """
def build():
    network = Own()
    with torch.no_grad():
        network.first.weight.zero_()
        network.last.bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    return network
""",
        "constant",
    ),
    "a tuple as output": model(
        """
class Pair(Own):
    def forward(self, x):
        return super().forward(x), x

def build():
    return Pair()
""",
        "tuple",
    ),
    "a dict as output": model(
        """
class Named(Own):
    def forward(self, x):
        return {"logits": super().forward(x), "hidden": x}

def build():
    return Named()
""",
        "dict|logits",
    ),
    "forward raises": model(
        """
class Raises(Own):
    def forward(self, x):
        raise KeyError("mask")

def build():
    return Raises()
""",
        "KeyError|mask",
    ),
    "a network that is random": model(
        """
class Random(Own):
    def forward(self, x):
        return super().forward(nn.functional.dropout(x, 0.5, training=True))

def build():
    return Random()
""",
        "other outputs each time|Switch the randomness off",
    ),
    "inputs of another size": data(
        "def load():\n    return torch.zeros(60, 7)\n", "RuntimeError|7"
    ),
    "no module returned": model("def build():\n    return 3\n", "a int, not a torch.nn.Module"),
    "model factory raises": model("def build():\n    return 1 / 0\n", "ZeroDivisionError|own.py:"),
    # weights
    "weights missing": weights(lambda folder: None, "no weights file|w.pt"),
    "weights cut short": weights(cut_weights, "w.pt|cut short"),
    "weights of another program": weights(
        lambda folder: (folder / "w.pt").write_bytes(b"\x89PNG\r\n\x1a\n" * 40), "not written by"
    ),
    "weights of another network": weights(
        lambda folder: torch.save({"conv.weight": torch.zeros(3)}, folder / "w.pt"),
        "missing '0.weight'|unexpected 'conv.weight'",
    ),
    "weights of another size": weights(
        lambda folder: torch.save(sized_weights(4), folder / "w.pt"), "'0.weight'|(4, 6)|(10, 6)"
    ),
    "pickled weights": weights(
        lambda folder: torch.save(torch.nn.Linear(6, 10), folder / "w.pt"),
        "pickled|refused|state_dict()",
    ),
    # the study folder
    "a study of another network": Case(
        "another network|Choose another folder",
        study=(('factory = "own.py:build"', 'factory = "own.py:other"'),),
        own="def other():\n    torch.manual_seed(9)\n    return nn.Sequential(nn.Linear(6, 3))\n",
        finished=True,
    ),
    "a study of other samples": Case(
        "another set of samples|Choose another folder",
        own="def load():\n    return inputs() + 1\n",
        finished=True,
    ),
    "a study of another class": Case(
        "another class|Choose another folder",
        study=(('target = "cat"', 'target = "dog"'),),
        finished=True,
    ),
    "a network whose code has changed": Case(
        "code has changed",
        study=(("n_jobs = 1", 'layers = ["0", "2"]\nn_jobs = 1'),),
        own="""
def build(first=build):
    network = first()
    network.forward = lambda x: nn.Sequential.forward(network, x).flip(1)
    return network
""",
        finished=True,
    ),
    "a study of a newer version": Case(
        "format 99|Update neucept",
        prepare=study_json(lambda info: info.update(format=99)),
        finished=True,
    ),
    "a study file half written": Case("study.json|damaged", prepare=half_written, finished=True),
    "a folder of something else": Case("thesis.tex|another folder", prepare=foreign_folder),
    "a study file of something else": Case(
        "study.json' was not written by neucept|another folder", prepare=foreign_study_file
    ),
    "a file in place of the folder": Case("is a file", prepare=plain_file),
    # report and layers
    "report of nothing": Case("holds no study", tokens=("report", "nowhere")),
    "report of an unfinished study": Case(
        "not finished",
        tokens=("report", "study"),
        prepare=study_json(lambda info: info.update(finished=False)),
        finished=True,
    ),
    "report of a newer study": Case(
        "format 99",
        tokens=("report", "study"),
        prepare=study_json(lambda info: info.update(format=99)),
        finished=True,
    ),
    "report with a table cut short": Case(
        "critical.parquet",
        tokens=("report", "study"),
        prepare=lambda folder: (folder / "study" / "critical.parquet").write_bytes(b"PAR1"),
        finished=True,
    ),
    "report with an entry missing": Case(
        "study.json' has no 'n_samples'|Run 'neucept run' again",
        tokens=("report", "study"),
        prepare=study_json(lambda info: info.pop("n_samples")),
        finished=True,
    ),
    "report with a column missing": Case(
        "mechanisms.parquet'|no column 'share'|Run 'neucept run' again",
        tokens=("report", "study"),
        prepare=without_column,
        finished=True,
    ),
    "report of something else": Case(
        "study.json' was not written by neucept",
        tokens=("report", "study"),
        prepare=foreign_study_file,
    ),
    "report into a folder": Case(
        "Cannot write|taken",
        tokens=("report", "study", "--out", "taken"),
        prepare=lambda folder: (folder / "taken").mkdir(),
        finished=True,
    ),
    "layers of a wrong example": Case(
        "RuntimeError|7", tokens=("layers", "own.py:build", "--example", "2,7")
    ),
}


def refused(tokens: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command is refused."""
    with pytest.raises(SystemExit) as left:
        main(list(tokens))
    out, err = capsys.readouterr()
    assert left.value.code == 2, out + err
    assert err.startswith("neucept: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in out + err
    return err.removeprefix("neucept: ")


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder with the digest of its content, but for byte code."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def write(folder: Path, case: Case) -> None:
    text = STUDY
    for old, new in case.study:
        assert text.count(old) >= 1, f"{old!r} is not in the study file"
        text = text.replace(old, new, 1)
    (folder / "study.toml").write_text(text)
    (folder / "own.py").write_text(OWN + case.own)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study, made once."""
    folder = tmp_path_factory.mktemp("finished")
    write(folder, Case(""))
    with pytest.raises(SystemExit) as left:
        main(["run", str(folder / "study.toml")])
    assert left.value.code == 0
    return folder / "study"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_line_and_nothing_written_over(
    case: Case,
    folder: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(folder, case)
    if case.finished:
        shutil.copytree(request.getfixturevalue("finished"), folder / "study")
    case.prepare(folder)
    before = content(folder)
    capsys.readouterr()
    line = refused(case.tokens, capsys)
    rest = line
    for part in case.answer.split("|"):
        assert part in rest, f"{part!r} is missing, or comes too early, in: {line}"
        rest = rest.partition(part)[2]
    after = content(folder)
    assert {name: after.get(name) for name in before} == before
    if not case.finished:
        assert not any(name.endswith((".html", ".parquet")) for name in after.keys() - before)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 30


FAULTS = {"read-only": errno.EROFS, "no space left": errno.ENOSPC, "quota": errno.EDQUOT}


class Disk:
    """A disk that takes some writes and then refuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, room: int) -> None:
        self.number, self.room = number, room
        for module, name in ((os, "replace"), (tempfile, "mkdtemp")):
            monkeypatch.setattr(module, name, self._limited(getattr(module, name)))

    def _limited(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def limited(*args: Any, **more: Any) -> Any:
            if self.room <= 0:
                raise OSError(self.number, os.strerror(self.number))
            self.room -= 1
            return write(*args, **more)

        return limited


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("room", [0, 1, 4])
def test_a_disk_that_refuses(
    fault: int,
    room: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(folder, Case(""))
    with monkeypatch.context() as patch:
        Disk(patch, fault, room)
        line = refused(RUN, capsys)
    assert os.strerror(fault) in line
    assert str(folder) in line


def test_a_disk_that_refuses_a_new_page_leaves_the_old_one(
    folder: Path,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(finished, folder / "study")
    before = content(folder)
    with monkeypatch.context() as patch:
        Disk(patch, errno.ENOSPC, 1)
        assert "No space left" in refused(("report", "study"), capsys)
    assert content(folder) == before


def test_what_a_full_disk_cut_short_goes_on_when_there_is_room(
    folder: Path,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(folder, Case(""))
    with monkeypatch.context() as patch:
        Disk(patch, errno.ENOSPC, 12)
        refused(RUN, capsys)
    with pytest.raises(SystemExit) as left:
        main(list(RUN))
    assert left.value.code == 0
    tables = [name for name in content(finished) if name.endswith(".parquet")]
    assert tables
    assert {name: content(folder / "study")[name] for name in tables} == {
        name: content(finished)[name] for name in tables
    }


MENDED = (
    "NaN in a sample",
    "a tuple as output",
    "weights cut short",
    "nothing predicted as the class",
    "labels beyond the classes",
    "a network that is random",
    "data that is random",
)


@pytest.mark.parametrize("name", MENDED)
def test_once_mended_the_same_command_works(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, CASES[name])
    CASES[name].prepare(folder)
    refused(RUN, capsys)
    write(folder, Case(""))
    with pytest.raises(SystemExit) as left:
        main(list(RUN))
    assert left.value.code == 0, capsys.readouterr().err
