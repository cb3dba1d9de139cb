"""Metadata and groups in a study: what is told, what they change, what is refused and when."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from quick_study import QUICK, run
from torch.utils.data import TensorDataset

from neucept.errors import DataError
from neucept.evaluation import PlantedNetwork, planted_network
from neucept.mechanisms import Mechanisms, associate
from neucept.report import write_report
from neucept.runtime import read_arrays
from neucept.study.folder import Study
from neucept.study.run import run_study
from neucept.study.settings import StudySettings


@pytest.fixture(scope="module")
def planted() -> PlantedNetwork:
    return planted_network(samples=400, seed=0)


@pytest.fixture(scope="module")
def table(planted: PlantedNetwork) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = len(planted.x)
    astray = rng.random(n) < 0.1
    site = np.where(astray, rng.integers(0, 2, n), planted.mechanisms.clip(0))
    return pd.DataFrame(
        {
            "position": np.arange(n)[::-1],
            "site": np.array(["north", "south"])[site][::-1],
            "weight": rng.normal(size=n),
            "patient": [f"p{k // 2}" for k in range(n)][::-1],
        }
    )


@pytest.fixture(scope="module")
def finished(
    planted: PlantedNetwork, table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Study, set[str]]:
    to = tmp_path_factory.mktemp("associating") / "study"
    return run(planted, to, metadata=table, groups="patient")


def test_what_goes_with_the_mechanisms_is_told_and_what_does_not_is_not(
    finished: tuple[Study, set[str]], table: pd.DataFrame
) -> None:
    study, told = finished
    assert "associations" in told
    assert study.info["mechanisms"]["n"] == 2
    assert study.info["metadata"] == {
        "columns": ["site", "weight"],
        "groups": 200,
        "grouped_by": "patient",
    }
    found = study.associations
    assert set(found["column"]) == {"site", "weight"}
    overall = found[found["mechanism"] == -1].set_index("column")
    assert overall.loc["site", "q_value"] < 0.01
    assert overall.loc["site", "effect"] > 0.7
    assert overall.loc["weight", "q_value"] > 0.05
    assert overall.loc["site", "test"] == "permutation of groups"
    mech = Mechanisms.from_arrays(read_arrays(study.path / "assigner.npz"))
    alike = associate(
        mech, table.sort_values("position")[["site", "weight"]].reset_index(drop=True)
    )
    pd.testing.assert_frame_equal(found, alike)


def test_groups_are_those_of_the_mechanisms(finished: tuple[Study, set[str]]) -> None:
    mech = Mechanisms.from_arrays(read_arrays(finished[0].path / "assigner.npz"))
    pairs = mech.samples // 2
    same = pairs[:, None] == pairs[None]
    np.testing.assert_array_equal(mech.together[:, None] == mech.together[None], same)


def test_the_page_and_its_first_screen_name_the_column(
    finished: tuple[Study, set[str]], tmp_path: Path
) -> None:
    page = write_report(finished[0], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "site goes with the mechanisms" in page
    assert "Samples of one “patient” belong together" in page
    assert "The strongest: site" in page


def test_only_what_depends_on_them_is_made_anew(
    planted: PlantedNetwork,
    table: pd.DataFrame,
    finished: tuple[Study, set[str]],
    tmp_path: Path,
) -> None:
    to = shutil.copytree(finished[0].path, tmp_path / "study")
    before = (to / "associations.parquet").read_bytes()
    assert run(planted, to, metadata=table, groups="patient")[1] == set()
    other = table.assign(weight=-table["weight"])
    assert run(planted, to, metadata=other, groups="patient")[1] == {"associations"}
    ids = table.sort_values("position")["patient"].tolist()
    bare, told = run(planted, to, groups=ids)
    assert told == set()
    assert bare.associations.empty
    assert not (to / "associations.parquet").exists()
    assert bare.info["metadata"] == {"columns": None, "groups": 200, "grouped_by": ""}
    assert "associations" not in bare.info["stages"] | bare.info["seconds"]
    _, told = run(planted, to, metadata=table, groups="patient")
    assert told == {"associations"}
    assert (to / "associations.parquet").read_bytes() == before
    alone, told = run(planted, to)
    assert {"mechanisms"} <= told <= {"mechanisms", "pictures"}
    assert alone.info["metadata"] is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"metadata": pd.DataFrame({"x": [1, 2]})}, "has 2 rows, there are 400 samples"),
        ({"groups": "patient"}, "there is no metadata"),
        ({"groups": [1, 2]}, "groups is of length 2. Pass one id for each of the 400"),
        ({"groups": [k % 9 for k in range(400)]}, "are of 9 groups; at least 10 are needed"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_search(
    planted: PlantedNetwork, tmp_path: Path, more: dict[str, object], said: str
) -> None:
    told: set[str] = set()
    with pytest.raises(DataError, match=said):
        run_study(
            planted.model,
            TensorDataset(planted.x, planted.labels),
            1,
            tmp_path / "study",
            QUICK,
            progress=lambda stage, done, total: told.add(stage),
            **more,  # type: ignore[arg-type]
        )
    assert told <= (set() if isinstance(more.get("groups"), str) else {"capture"})


def test_one_mechanism_leaves_a_table_without_rows(
    planted: PlantedNetwork, table: pd.DataFrame, tmp_path: Path
) -> None:
    study = run_study(
        planted.model,
        TensorDataset(planted.x, planted.labels),
        1,
        tmp_path / "study",
        StudySettings(**{**QUICK.__dict__, "max_mechanisms": 1}),
        metadata=table,
    )
    assert len(study.associations) == 0
    page = write_report(study, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "There is one mechanism only, so there is nothing that metadata could go with" in page
