"""The study folder: what is taken for ours, and what is missing from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from planted_study import planted_study

from neucept.errors import StudyError
from neucept.report import write_report
from neucept.study.contents import LATER, TABLES
from neucept.study.folder import FORMAT, KIND, Study, Workplace, read_info

IDENTITY = {"network": "a", "set of samples": "b", "class": "0"}


def finished(folder: Path, **more: Any) -> Path:
    """The folder of a finished study, with other entries in its ``study.json``."""
    planted = planted_study(core=False)
    folder.mkdir()
    for table in TABLES:
        getattr(planted, table).to_parquet(folder / f"{table}.parquet", index=False)
    info = {**planted.info, "kind": KIND, "format": FORMAT, "finished": True, "stages": {}, **more}
    write_info(folder, {key: value for key, value in info.items() if value is not None})
    return folder


def write_info(folder: Path, info: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "study.json").write_text(json.dumps(info))


@pytest.mark.parametrize(
    "content",
    [
        {"format": 1, "project": "mine"},
        {"format": 1, "finished": True, "stages": {}},
        {"format": 1, "kind": "of mine"},
        {},
        [],
        "neucept study",
    ],
)
def test_a_study_file_of_another_program_is_left_alone(tmp_path: Path, content: object) -> None:
    write_info(tmp_path, content)
    (tmp_path / "report.html").write_text("precious")
    for use in (Study.open, lambda place: Workplace(place, IDENTITY)):
        with pytest.raises(StudyError, match=r"study.json' was not written by neucept"):
            use(tmp_path)
    assert json.loads((tmp_path / "study.json").read_text()) == content
    assert (tmp_path / "report.html").read_text() == "precious"


def test_a_study_from_before_the_marker_is_opened(tmp_path: Path) -> None:
    study = Study.open(finished(tmp_path / "study", kind=None))
    assert len(study.mechanisms) == 3


def test_a_study_from_before_the_marker_is_not_called_one_of_other_samples(tmp_path: Path) -> None:
    info = {"format": 1, "identity": {**IDENTITY, "set of samples": "by batch"}}
    write_info(tmp_path, {**info, "stages": {"capture": "k", "critical neurons": "k"}})
    with pytest.raises(StudyError, match="an earlier neucept"):
        Workplace(tmp_path, IDENTITY)


def test_tables_that_older_studies_lack_are_read_as_empty(tmp_path: Path) -> None:
    place = finished(tmp_path / "study", metadata=None, reliability=None, selectivity=None)
    old = pd.read_parquet(place / "samples.parquet").drop(columns=["order", "leaf"])
    old.to_parquet(place / "samples.parquet", index=False)
    study = Study.open(place)
    for name, columns in LATER.items():
        table = getattr(study, name)
        assert list(table.columns) == list(columns)
        assert table.empty
    page = write_report(study, tmp_path / "report.html").read_text(encoding="utf-8")
    for section in ("associations", "order", "doubt", "cuts"):
        assert f'id="{section}"' not in page


@pytest.mark.parametrize("name", LATER)
def test_tables_that_are_there_and_damaged_are_not_taken_for_missing(
    tmp_path: Path, name: str
) -> None:
    place = finished(tmp_path / "study")
    (place / f"{name}.parquet").write_bytes(b"no table")
    with pytest.raises(StudyError, match=f"Cannot read '{name}.parquet'"):
        getattr(Study.open(place), name)
    pd.DataFrame({"other": [1]}).to_parquet(place / f"{name}.parquet")
    with pytest.raises(StudyError, match=f"'{name}.parquet' .* has no column"):
        getattr(Study.open(place), name)


def test_what_a_stage_left_is_forgotten_with_it(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "study", IDENTITY)
    (place.place / "x.parquet").write_bytes(b"12345")
    place.finish("x", "key", 1.0, ("x.parquet",))
    place.save(finished=True)
    place.forget("y", "y.parquet")
    assert place.info["finished"] is True
    assert place.has("x", "key", ("x.parquet",))
    place.forget("x", "x.parquet")
    assert place.info["finished"] is False
    assert not (place.place / "x.parquet").exists()
    assert not {"x", "x.parquet"} & {
        name for part in ("stages", "seconds", "sizes") for name in place.info[part]
    }
    place.close()


@pytest.mark.parametrize("part", ["identity", "stages", "format"])
def test_a_study_file_that_lost_a_part_is_damaged(tmp_path: Path, part: str) -> None:
    with pytest.raises(StudyError, match=f"is damaged .*'{part}'"):
        Study.open(finished(tmp_path / "study", **{part: None}))


def test_the_first_write_may_be_interrupted(tmp_path: Path) -> None:
    (tmp_path / ".writing.x1").mkdir()
    (tmp_path / ".writing.x1" / "study.json").write_text("{")
    Workplace(tmp_path, IDENTITY).close()
    info = read_info(tmp_path)
    assert info is not None
    assert info["kind"] == KIND
    assert [path.name for path in tmp_path.iterdir()] == ["study.json"]


def begun(folder: Path, *stages: str) -> Workplace:
    place = Workplace(folder, IDENTITY)
    for stage in stages:
        place.finish(stage, "key", 0.0, ())
    return place


@pytest.mark.parametrize("what", IDENTITY)
def test_a_folder_whose_samples_were_refused_is_free_again(tmp_path: Path, what: str) -> None:
    begun(tmp_path, "capture").close()
    other = Workplace(tmp_path, {**IDENTITY, what: "other"})
    assert other.info["identity"][what] == "other"
    assert other.has("capture", "key", ())
    other.close()


@pytest.mark.parametrize("what", IDENTITY)
def test_a_folder_is_taken_once_its_samples_were_accepted(tmp_path: Path, what: str) -> None:
    place = begun(tmp_path, "capture")
    place.accept()
    place.close()
    with pytest.raises(StudyError, match=f"a study of another {what}"):
        Workplace(tmp_path, {**IDENTITY, what: "other"})
    Workplace(tmp_path, IDENTITY).close()


def test_a_folder_that_could_not_be_written_is_not_kept_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(Exception, match="No space left"):
            Workplace(tmp_path, IDENTITY)
    Workplace(tmp_path, IDENTITY).close()


@pytest.mark.parametrize(
    "part", ["n_samples", "n_predicted", "name", "neucept", "target", "layers", "mechanisms"]
)
def test_a_finished_study_that_lacks_an_entry_is_refused(tmp_path: Path, part: str) -> None:
    with pytest.raises(StudyError, match=rf"study.json' has no '{part}'.* Run 'neucept run' again"):
        Study.open(finished(tmp_path / "study", **{part: None}))


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("n_samples", "many", "a str as 'n_samples'"),
        ("target", {"index": 0}, "no 'target.name'"),
        ("layers", [{"name": "fc"}], "no 'layers.0.neurons'"),
        ("layers", ["fc"], "a str as 'layers.0'"),
    ],
)
def test_a_finished_study_with_a_wrong_entry_is_refused(
    tmp_path: Path, part: str, value: object, said: str
) -> None:
    with pytest.raises(StudyError) as caught:
        Study.open(finished(tmp_path / "study", **{part: value}))
    assert said in str(caught.value)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_lacks_a_column_is_refused(tmp_path: Path, table: str) -> None:
    folder = finished(tmp_path / "study")
    whole = getattr(Study.open(folder), table)
    for column in TABLES[table]:
        whole.drop(columns=column).to_parquet(folder / f"{table}.parquet")
        with pytest.raises(StudyError, match=rf"'{table}.parquet' .* has no column '{column}'"):
            getattr(Study.open(folder), table)


@pytest.mark.parametrize("path", [5, None, b"study"])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(StudyError, match="Pass its path"):
        Study.open(path)
