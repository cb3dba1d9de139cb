"""A whole study of a planted network: what it finds, how it resumes, what it refuses."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from neucept.critical import Critical
from neucept.errors import DataError, SettingsError, StudyError
from neucept.evaluation import PlantedNetwork, planted_network
from neucept.report import write_report
from neucept.study.contents import TABLES
from neucept.study.folder import FORMAT, KIND, Study, Workplace
from neucept.study.run import run_study
from neucept.study.settings import StudySettings

FAST = {"sampler": "gaussian", "statistic": "lasso", "dither": 0.0, "audit": 0, "keep": 0.0}
QUICK = StudySettings(draws=4, max_mechanisms=4, ablation_samples=40, **FAST)
CLASSES = ("left", "right")


@pytest.fixture(scope="module")
def planted() -> PlantedNetwork:
    return planted_network(seed=0)


def run(planted: PlantedNetwork, to: Path, settings: StudySettings = QUICK, **more) -> Study:
    data = TensorDataset(planted.x, planted.labels)
    return run_study(planted.model, data, "right", to, settings, classes=CLASSES, **more)


@pytest.fixture(scope="module")
def study(planted: PlantedNetwork, tmp_path_factory: pytest.TempPathFactory) -> Study:
    known = planted.mechanisms.tolist()
    return run(planted, tmp_path_factory.mktemp("whole") / "study", known=known)


def tables(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.parquet"))} | {
        "assigner.npz": (folder / "assigner.npz").read_bytes()
    }


def test_the_planted_answer_is_found(study: Study, planted: PlantedNetwork) -> None:
    assert study.info["mechanisms"]["n"] == planted.mechanisms.max() + 1
    assert study.info["mechanisms"]["agreement"]["ami"] > 0.8
    for layer in study.info["layers"]:
        rows = study.critical[study.critical["layer"] == layer["name"]]
        named = set(rows.loc[rows["selected"], "neuron"])
        true = set(np.asarray(planted.critical[layer["name"]]).tolist())
        assert len(named & true) >= 0.7 * len(true)
        assert len(named & true) > len(named - true)


def test_every_table_is_there_and_agrees_with_the_others(study: Study) -> None:
    assert study.kept.empty  # No core was asked for.
    for table in TABLES.keys() - {"kept"}:
        assert len(getattr(study, table)) > 0, table
    assert study.mechanisms["size"].sum() == len(study.samples) == study.info["n_predicted"]
    assert (study.samples["prediction"] == 1).all()
    assert study.samples["typicality"].between(0, 1).all()
    for prototypes, (_, rows) in zip(
        study.mechanisms["prototypes"], study.samples.groupby("mechanism"), strict=True
    ):
        assert set(json.loads(prototypes)) <= set(rows["position"])
    assert set(study.ablation["order"]) == {"critical", "random"}
    assert not (study.path / ".pieces").exists()


def test_a_study_leaves_the_users_random_numbers_alone(
    planted: PlantedNetwork, tmp_path: Path
) -> None:
    def states() -> tuple[object, ...]:
        numpy = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), random.getstate(), numpy[1].tolist(), numpy[2]

    class Drawing(TensorDataset):
        def __getitem__(self, position: int) -> tuple[torch.Tensor, ...]:
            nothing = torch.rand(()) * random.random() * np.random.rand() * 0  # noqa: NPY002
            return planted.x[position] + nothing, planted.labels[position]

    before = states()
    quick = replace(QUICK, draws=1, max_mechanisms=1, ablation_samples=8)
    run_study(planted.model, Drawing(planted.x, planted.labels), 1, tmp_path / "study", quick)
    assert states() == before


def test_a_second_run_computes_nothing(study: Study, planted: PlantedNetwork) -> None:
    told: list[str] = []
    before = tables(study.path)
    again = run(planted, study.path, progress=lambda stage, done, of: told.append(stage))
    assert told == []
    assert tables(again.path) == before


class Killed(BaseException):
    """Stands for a kill: nothing in the library may catch it."""


def test_a_study_killed_anywhere_ends_with_the_same_tables(
    planted: PlantedNetwork, tmp_path: Path
) -> None:
    told: list[str] = []
    small = StudySettings(
        layers=("second",), draws=2, max_mechanisms=2, ablation_samples=20, **FAST
    )
    whole = run(planted, tmp_path, small, progress=lambda stage, done, of: told.append(stage))
    stages = {stage: told.index(stage) + told.count(stage) // 2 for stage in dict.fromkeys(told)}
    assert len(stages) >= 4
    for stage, moment in stages.items():
        folder = tmp_path.with_name(f"killed {stage}")
        calls = iter(range(len(told)))

        def kill(stage: str, done: int, of: int, moment=moment, calls=calls) -> None:
            if next(calls) == moment:
                raise Killed(stage)

        with pytest.raises(Killed):
            run(planted, folder, small, progress=kill)
        with pytest.raises(StudyError, match="not finished|no study"):
            Study.open(folder)
        run(planted, folder, small)
        assert tables(folder) == tables(whole.path), stage


def test_a_changed_setting_recomputes_what_depends_on_it(
    study: Study, planted: PlantedNetwork, tmp_path: Path
) -> None:
    folder = shutil.copytree(study.path, tmp_path / "study")
    told: list[str] = []
    changed = replace(QUICK, ablation_samples=20)
    again = run(planted, folder, changed, progress=lambda stage, done, of: told.append(stage))
    assert set(told) == {"ablation"}
    assert again.info["settings"]["ablation_samples"] == 20
    assert again.critical.equals(study.critical)


def test_the_core_is_told_and_serves_the_mechanisms_when_asked_for(
    study: Study, planted: PlantedNetwork, tmp_path: Path
) -> None:
    assert study.kept.empty
    assert all(entry["core"] is None for entry in study.info["layers"])
    folder = shutil.copytree(study.path, tmp_path / "study")
    kept = run(planted, folder, replace(QUICK, keep=0.9))
    assert kept.critical.equals(study.critical)
    for entry in kept.info["layers"]:
        core = entry["core"]
        own = kept.kept[kept.kept["layer"] == entry["name"]]
        assert own["neuron"].tolist()[1 : len(core["neurons"]) + 1] == core["neurons"]
        assert core["keep"] == 0.9 <= core["kept"] <= 1
        assert 0.9 < entry["known"] <= 1
    assert set(kept.info["mechanisms"]["used"].values()) == {"critical"}
    told: list[str] = []
    again = run(
        planted,
        folder,
        replace(QUICK, keep=0.9, neurons="core"),
        progress=lambda stage, done, of: told.append(stage),
    )
    # The pictures are of the most typical samples, which are others now.
    assert {"mechanisms"} <= set(told) <= {"mechanisms", "pictures"}
    (layer,) = again.info["mechanisms"]["layers"]
    assert again.info["mechanisms"]["used"] == {layer: "core"}
    found = Critical.load(folder)
    width = int((found.table["layer"] == layer).sum())
    assert set(again.signature["neuron"]) == set(found.core(layer, 0.99)[: width // 2].tolist())


def test_another_batch_size_computes_nothing(
    study: Study, planted: PlantedNetwork, tmp_path: Path
) -> None:
    folder = shutil.copytree(study.path, tmp_path / "study")
    told: list[str] = []
    smaller = replace(QUICK, batch_size=100)
    again = run(planted, folder, smaller, progress=lambda stage, done, of: told.append(stage))
    assert told == []
    assert again.info["settings"]["batch_size"] == 100


def test_another_network_or_other_samples_are_refused(
    study: Study, planted: PlantedNetwork
) -> None:
    before = tables(study.path)
    other = planted_network(seed=1)
    with pytest.raises(StudyError, match="study of another network"):
        run(replace(planted, model=other.model), study.path)
    with pytest.raises(StudyError, match="study of another set of samples"):
        run(replace(planted, x=planted.x + 1), study.path)
    with pytest.raises(StudyError, match="study of another class"):
        run_study(planted.model, TensorDataset(planted.x, planted.labels), 0, study.path, QUICK)
    assert tables(study.path) == before


def test_code_that_changed_under_the_same_weights_is_noticed(
    study: Study, planted: PlantedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = type(planted.model).forward
    monkeypatch.setattr(type(planted.model), "forward", lambda self, x: 2 * forward(self, x) + 3)
    with pytest.raises(StudyError, match="its code has changed"):
        run(planted, study.path, replace(QUICK, layers=("first", "second")))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (json.dumps({"kind": KIND, "format": FORMAT + 1}), "Update neucept"),
        ("{", "damaged"),
        ("{}", "not written by neucept"),
    ],
)
def test_a_folder_that_cannot_be_understood_is_refused(
    planted: PlantedNetwork, tmp_path: Path, content: str, text: str
) -> None:
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(StudyError, match=text):
        run(planted, tmp_path)
    assert (tmp_path / "study.json").read_text() == content


def test_a_folder_of_something_else_is_refused(planted: PlantedNetwork, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(StudyError, match="holds no study"):
        run(planted, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_too_few_samples_of_the_class_say_how_many_are_needed(
    planted: PlantedNetwork, tmp_path: Path
) -> None:
    outputs = planted.model(planted.x).argmax(1)
    few = torch.cat([torch.where(outputs == 0)[0][:60], torch.where(outputs == 1)[0][:9]])
    data = TensorDataset(planted.x[few], planted.labels[few])
    with pytest.raises(DataError, match="9 of 69 samples are predicted as class 1; .* at least 30"):
        run_study(planted.model, data, 1, tmp_path / "few", QUICK)
    with pytest.raises(DataError, match=r"predicted as 'b'; .* Most are predicted as 'a' \(60\)"):
        run_study(planted.model, data, 1, tmp_path / "few", QUICK, classes=("a", "b"))


def test_both_ways_out_that_the_refusal_names_are_open(
    planted: PlantedNetwork, tmp_path: Path
) -> None:
    outputs = planted.model(planted.x).argmax(1)
    few = torch.cat([torch.where(outputs == 0)[0][:60], torch.where(outputs == 1)[0][:9]])
    data = TensorDataset(planted.x[few], planted.labels[few])
    quick = replace(QUICK, draws=1, max_mechanisms=1, ablation_samples=8)
    for way, (more, target) in enumerate([(data, 0), (TensorDataset(planted.x), 1)]):
        folder = tmp_path / str(way)
        with pytest.raises(DataError, match="9 of 69 samples"):
            run_study(planted.model, data, 1, folder, quick)
        told: list[str] = []
        run_study(
            planted.model,
            more,
            target,
            folder,
            quick,
            progress=lambda stage, *_, told=told: told.append(stage),
        )
        assert ("capture" in told) == (more is not data)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_that_are_no_class_of_the_network_are_refused(
    planted: PlantedNetwork, tmp_path: Path, label: int
) -> None:
    labels = planted.labels.clone()
    labels[7] = label
    data = TensorDataset(planted.x, labels)
    with pytest.raises(DataError, match=f"Sample '7' has label {label}; .* classes 0 to 1"):
        run_study(planted.model, data, 1, tmp_path / "study", QUICK)


@pytest.mark.parametrize("name", ["signature.parquet", "critical.json", "assigner.npz"])
def test_a_damaged_file_is_made_again(
    study: Study, planted: PlantedNetwork, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(study.path, tmp_path / "study")
    (folder / name).write_bytes(b"")
    again = run(planted, folder)
    assert tables(again.path) == tables(study.path)


def test_two_runs_do_not_work_in_one_folder(
    study: Study, planted: PlantedNetwork, tmp_path: Path
) -> None:
    folder = shutil.copytree(study.path, tmp_path / "study")
    first = Workplace(folder, study.info["identity"])
    with pytest.raises(StudyError, match="Another run is working"):
        run(planted, folder)
    first.close()
    run(planted, folder)


def test_known_of_another_length_is_refused_early(study: Study, planted: PlantedNetwork) -> None:
    with pytest.raises(DataError, match="known has 3 entries"):
        run(planted, study.path, known=[1, 2, 3])


def test_a_study_in_which_no_neuron_is_named_ends_well(
    planted: PlantedNetwork, tmp_path: Path
) -> None:
    none = run(planted, tmp_path / "none", replace(QUICK, draws=1, knockoffs=1, fdr=0.01))
    assert not none.critical["selected"].any()
    assert none.info["mechanisms"]["n"] == 0
    assert none.samples["membership"].isna().all()
    page = write_report(none, tmp_path / "report.html")
    assert "nothing to group by" in page.read_text(encoding="utf-8")


SMALL = replace(QUICK, layers=("second",), draws=1, max_mechanisms=1, ablation_samples=8)


def test_a_contrast_is_another_study_and_the_page_asks_it(
    planted: PlantedNetwork, tmp_path: Path
) -> None:
    data = TensorDataset(planted.x, planted.labels)
    folder = tmp_path / "contrast"
    found = run_study(planted.model, data, ("right", "left"), folder, SMALL, classes=CLASSES)
    assert found.info["target"] == {
        "index": 1,
        "name": "right",
        "against": {"index": 0, "name": "left"},
    }
    assert found.info["identity"]["class"] == "1 rather than 0"
    assert (found.samples["prediction"] == 1).all()
    assert found.info["n_predicted"] == len(found.samples)
    page = write_report(found, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Is “right” always predicted rather than “left” for the same reason?" in page
    for other in ("right", ("left", "right")):
        with pytest.raises(StudyError, match="study of another class"):
            run_study(planted.model, data, other, folder, SMALL, classes=CLASSES)
    with pytest.raises(SettingsError, match="target is 7, but the network has 2 classes"):
        run_study(planted.model, data, (1, 7), tmp_path / "none", SMALL)


def test_a_local_study_is_of_the_samples_around_one(
    planted: PlantedNetwork, tmp_path: Path
) -> None:
    outputs = planted.model(planted.x).argmax(1).numpy()
    own, other = (int(np.flatnonzero(outputs == k)[3]) for k in (1, 0))
    near = replace(SMALL, samples="near", near=str(own), neighbours=150)
    folder = tmp_path / "near"
    with pytest.raises(DataError, match=f"Sample '{other}' is predicted as class 0, not as"):
        run(planted, folder, replace(near, near=other))
    found = run(planted, folder, near)
    said = found.info["near"]
    assert (said["position"], said["id"], said["samples"]) == (own, str(own), 150)
    assert len(found.samples) == 150 < found.info["n_predicted"] == said["predicted"]
    assert own in found.samples["position"].tolist()
    group = planted.mechanisms[found.samples["position"]]
    assert np.mean(group == planted.mechanisms[own]) > 0.9
    page = write_report(found, tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"Around “{own}”: is “right” always predicted for the same reason?" in page
    told: list[str] = []
    whole = run(planted, folder, SMALL, progress=lambda stage, done, of: told.append(stage))
    assert whole.info["near"] is None and "capture" not in told
    assert len(whole.samples) == whole.info["n_predicted"]


def test_a_neighbourhood_that_was_refused_leaves_the_folder_to_another_class(
    planted: PlantedNetwork, tmp_path: Path
) -> None:
    outputs = planted.model(planted.x).argmax(1).numpy()
    sample = int(np.flatnonzero(outputs == 0)[0])
    near = replace(SMALL, samples="near", near=sample, neighbours=100)
    with pytest.raises(DataError, match="Study the class it is predicted as"):
        run(planted, tmp_path / "study", near)
    data = TensorDataset(planted.x, planted.labels)
    run_study(planted.model, data, "left", tmp_path / "study", near, classes=CLASSES)
