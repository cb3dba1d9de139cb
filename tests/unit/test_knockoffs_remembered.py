"""What was chosen once is found again, and a cache that does not work costs nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neucept.knockoffs import remembered as module
from neucept.knockoffs.remembered import VARIABLE, folder, remembered
from neucept.runtime import digest


class Work:
    """Counts how often it is done."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.times += 1
        return {"a": np.arange(3)}


def again(key: str, work: Work) -> dict[str, np.ndarray]:
    return remembered(key, work, lambda made: made, lambda read: {"a": read["a"]})


def test_it_is_done_once_for_each_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kept"))
    work = Work()
    for _ in range(2):
        assert again("k", work)["a"].tolist() == [0, 1, 2]
    assert work.times == 1
    again("other", work)
    assert work.times == 2


def test_other_code_does_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    work = Work()
    again("k", work)
    monkeypatch.setattr(module, "_code", lambda: digest("changed"))
    again("k", work)
    assert work.times == 2


def test_a_damaged_piece_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    work = Work()
    again("k", work)
    (piece,) = tmp_path.glob("*.npz")
    piece.write_bytes(piece.read_bytes()[:40])
    for _ in range(2):
        assert again("k", work)["a"].tolist() == [0, 1, 2]
    assert work.times == 2


def test_a_piece_of_other_content_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    work = Work()
    again("k", work)
    (piece,) = tmp_path.glob("*.npz")
    np.savez(piece, other=np.zeros(2))
    assert again("k", work)["a"].tolist() == [0, 1, 2]
    assert work.times == 2


@pytest.mark.parametrize("named", ["~nobody-of-that-name/x", "/" + 300 * "x", "/proc/1/root/x"])
def test_a_folder_that_cannot_be_is_done_without(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, named)
    monkeypatch.setattr(module, "write_arrays", lambda *_: None)
    assert again("k", Work())["a"].tolist() == [0, 1, 2]


def test_without_a_folder_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for named in ("", str(tmp_path / "file" / "below")):
        monkeypatch.setenv(VARIABLE, named)
        assert again("k", Work())["a"].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_users_own_cache_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert folder() == Path("/somewhere/neucept")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert folder() == Path.home() / ".cache" / "neucept"
