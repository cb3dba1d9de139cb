"""Explained samples: the study's own, new ones, strange ones, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from neucept.activations import Activations
from neucept.errors import DataError, ModelError, SettingsError, StorageError, StudyError
from neucept.evaluation import PlantedNetwork, planted_network
from neucept.mechanisms import Mechanisms
from neucept.runtime import write_arrays
from neucept.study.explaining import explain
from neucept.study.folder import Study
from neucept.study.run import run_study
from neucept.study.settings import StudySettings

QUICK = StudySettings(
    sampler="gaussian",
    statistic="lasso",
    dither=0.0,
    layers=("second",),
    draws=2,
    max_mechanisms=2,
    audit=0,
    keep=0.0,
    ablation_modes=("zero",),
    ablation_samples=4,
    pictures=0,
    n_jobs=1,
)


@pytest.fixture(scope="module")
def planted() -> PlantedNetwork:
    return planted_network(samples=600, seed=0)


@pytest.fixture(scope="module")
def study(planted: PlantedNetwork, tmp_path_factory: pytest.TempPathFactory) -> Study:
    to = tmp_path_factory.mktemp("explain") / "study"
    data = TensorDataset(planted.x, planted.labels)
    return run_study(planted.model, data, 1, to, QUICK, classes=("left", "right"))


def drawn(planted: PlantedNetwork, seed: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Samples like those of the study, by adding noise of half their own size to some of them."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(planted.x), generator=random)[:300]
    noise = 0.5 * torch.randn(300, planted.x.shape[1], generator=random)
    return planted.x[rows] + noise, planted.labels[rows], planted.mechanisms[rows.numpy()]


def test_own_samples_need_no_network_and_say_what_the_study_says(study: Study) -> None:
    found = explain(study)
    table = found.table.set_index("position")
    own = study.samples.set_index("position")
    assert len(table) == study.info["n_samples"]
    assert table["of_class"].sum() == len(own)
    assert (table.index[table["own"]] == own.index).all()
    same = table.loc[own.index]
    assert (same["mechanism"] == own["mechanism"]).all()
    assert same["typicality"].to_numpy() == pytest.approx(own["typicality"].to_numpy())
    assert same["membership"].to_numpy() == pytest.approx(own["membership"].to_numpy(), abs=1e-6)
    assert (found.table["atypical"] == (found.table["typicality"] <= 0.05)).all()


def test_shares_of_all_neurons_add_up(study: Study) -> None:
    found = explain(study, samples=[3, 10, 44], most=None)
    nats = found.neurons.groupby("position")["nats"].sum()
    table = found.table.set_index("position")
    assert (table["start"] + nats).to_numpy() == pytest.approx(table["log_ratio"].to_numpy())
    far = found.neurons.groupby("position")["distance"].sum()
    assert far.to_numpy() == pytest.approx(table["distance"].to_numpy())
    few = explain(study, samples=[3, 10, 44], most=2).neurons
    most = found.neurons.groupby("position").head(2).reset_index(drop=True)
    assert few.equals(most)


def test_new_samples_are_the_same_as_recorded_ones_when_they_are(
    study: Study, planted: PlantedNetwork
) -> None:
    rows = [5, 17, 500]
    recorded = explain(study, samples=rows)
    data = DataLoader(TensorDataset(planted.x, planted.labels), batch_size=7, shuffle=True)
    again = explain(study, planted.model, data, samples=rows, device="cpu")
    for name in ("table", "neurons", "prototypes"):
        one, two = getattr(recorded, name), getattr(again, name)
        for column in one:
            if one[column].dtype.kind == "f":
                # Ties of typicality go by the activations, whose last digits depend on the batch:
                # of those beside 300 others it may move by one place.
                place = 1 / 200 if column == "typicality" else 1e-5
                assert two[column].to_numpy() == pytest.approx(
                    one[column].to_numpy(), rel=1e-4, abs=place
                )
            else:
                assert (one[column] == two[column]).all(), column


def test_other_samples_under_the_same_names_are_not_the_studys_own(
    study: Study, planted: PlantedNetwork
) -> None:
    x, labels, _ = drawn(planted, 0)
    found = explain(study, planted.model, TensorDataset(x, labels))
    assert not found.table["own"].any()
    assert found.table["id"].tolist() == [str(i) for i in range(300)]


def test_the_planted_mechanism_is_told_and_its_own_neurons_decided(
    study: Study, planted: PlantedNetwork
) -> None:
    x, labels, mechanisms = drawn(planted, 1)
    found = explain(study, planted.model, TensorDataset(x, labels), most=3)
    table = found.table[found.table["of_class"] & (mechanisms[found.table["position"]] >= 0)]
    truth = planted.mechanisms[study.samples["position"]]
    name = {g: int(study.samples.loc[truth == g, "mechanism"].mode()[0]) for g in (0, 1)}
    expected = [name[int(g)] for g in mechanisms[table["position"]]]
    assert (table["mechanism"] == expected).mean() > 0.95
    (layer,) = found.layers
    critical = set(np.asarray(planted.critical[layer]).tolist())
    decided = found.neurons[found.neurons["position"].isin(table["position"])]
    assert decided["neuron"].isin(critical).mean() > 0.8
    assert (decided["layer"] == layer).all()


def test_what_is_usual_is_the_median_of_the_study(study: Study) -> None:
    found = explain(study, samples=[3])
    row, first = found.table.iloc[0], found.neurons.iloc[0]
    told = study.signature.set_index(["mechanism", "layer", "neuron"])["median"]
    assert first["usual"] == told[row["mechanism"], first["layer"], first["neuron"]]
    assert first["usual_next"] == told[row["next"], first["layer"], first["neuron"]]
    value = Activations.open(study.path / "activations.zarr").matrix(first["layer"], [3])
    assert first["value"] == pytest.approx(value[0, first["neuron"]])


def test_near_prototypes_are_of_the_same_mechanism_and_never_the_sample(study: Study) -> None:
    found = explain(study)
    known = study.mechanisms.set_index("mechanism")["prototypes"].map(json.loads)
    merged = found.prototypes.merge(found.table[["position", "mechanism"]], on="position")
    for mechanism, rows in merged.groupby("mechanism"):
        assert set(rows["prototype"]) <= set(known[mechanism])
    assert (merged["prototype"] != merged["position"]).all()
    ordered = merged.groupby("position")["distance"].apply(lambda d: d.is_monotonic_increasing)
    assert ordered.all()
    assert (merged.groupby("position").size() == 3).all()
    again = explain(study, samples=[int(known[0][0])])
    assert again.table["distance"].iloc[0] <= found.table["distance"].median()


def test_strange_inputs_are_atypical(study: Study, planted: PlantedNetwork) -> None:
    usual = explain(study)
    far = 40 * torch.rand(50, planted.x.shape[1], generator=torch.Generator().manual_seed(2))
    found = explain(study, planted.model, far)
    assert found.table["atypical"].mean() > 0.9
    assert usual.table.loc[usual.table["own"], "atypical"].mean() == pytest.approx(0.05, abs=0.02)
    assert (found.table["label"] == -1).all()
    strict = explain(study, level=0.5)
    assert strict.table.loc[strict.table["own"], "atypical"].mean() == pytest.approx(0.5, abs=0.02)


class Named(TensorDataset):
    ids = tuple(f"case-{i % 599}" for i in range(600))


def test_samples_go_by_id_or_position(study: Study, planted: PlantedNetwork) -> None:
    assert explain(study, samples=["7", 3]).table["position"].tolist() == [3, 7]
    data = Named(planted.x, planted.labels)
    found = explain(study, planted.model, data, samples=["case-4", "case-0", "9"])
    assert found.table["position"].tolist() == [0, 4, 9, 599]
    assert found.table["id"].tolist() == ["case-0", "case-4", "case-9", "case-0"]
    with pytest.raises(DataError, match="no sample called 'case-x'.*Did you mean"):
        explain(study, planted.model, data, samples=["case-x"])


@pytest.mark.parametrize(
    ("samples", "error", "text"),
    [
        ([], SettingsError, "No sample is named"),
        ([600], DataError, "no sample 600. Positions run from 0 to 599"),
        ([-1], DataError, "no sample -1"),
        (["scan"], DataError, "no sample called 'scan'"),
        ([1.5], SettingsError, "named by a float"),
        ("12", SettingsError, "samples is '12'"),
    ],
)
def test_samples_that_are_none(study: Study, samples: object, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        explain(study, samples=samples)


def test_one_absent_position_of_new_samples(study: Study, planted: PlantedNetwork) -> None:
    with pytest.raises(DataError, match="Sample 9 is not in the data, which has 5 samples"):
        explain(study, planted.model, planted.x[:5], samples=[9])


def test_another_network_is_refused(study: Study, planted: PlantedNetwork) -> None:
    other = planted_network(seed=1).model
    with pytest.raises(StudyError, match="is of another network .* structure or weights differ"):
        explain(study, other, planted.x)
    with pytest.raises(StudyError, match="another network than this Linear"):
        explain(study, nn.Linear(3, 2), planted.x)
    with pytest.raises(ModelError, match="without a network"):
        explain(study, None, planted.x)
    with pytest.raises(ModelError, match="The model is a str"):
        explain(study, "network", planted.x)  # type: ignore[arg-type]


def test_the_network_is_left_as_it_was(study: Study, planted: PlantedNetwork) -> None:
    before = {name: value.clone() for name, value in planted.model.state_dict().items()}
    planted.model.train()
    explain(study, planted.model, planted.x[:9])
    assert planted.model.training
    assert not any(module._forward_hooks for module in planted.model.modules())
    assert all(torch.equal(before[n], v) for n, v in planted.model.state_dict().items())
    planted.model.eval()


def test_settings_out_of_range(study: Study) -> None:
    with pytest.raises(SettingsError, match="level is 0"):
        explain(study, level=0)
    with pytest.raises(SettingsError, match="most is 0"):
        explain(study, most=0)
    with pytest.raises(StudyError, match="Open it first"):
        explain(str(study.path))  # type: ignore[arg-type]


def test_a_bad_input_is_named(study: Study, planted: PlantedNetwork) -> None:
    bad = planted.x[:4].clone()
    bad[2] = float("nan")
    with pytest.raises(DataError, match="Sample '2' gives nan"):
        explain(study, planted.model, bad)


def copied(study: Study, to: Path) -> Study:
    return Study.open(shutil.copytree(study.path, to / "study"))


def test_a_study_without_mechanisms_or_activations_says_so(study: Study, tmp_path: Path) -> None:
    other = copied(study, tmp_path)
    arrays = Mechanisms.load(study.path / "assigner.npz").to_arrays()
    none = {name: array for name, array in arrays.items() if not name.startswith("assigner.")}
    write_arrays(other.path / "assigner.npz", none)
    with pytest.raises(DataError, match="has no mechanisms"):
        explain(other)
    shutil.copy(study.path / "assigner.npz", other.path / "assigner.npz")
    shutil.rmtree(other.path / "activations.zarr")
    with pytest.raises(StorageError, match="no activations store"):
        explain(other)


def test_one_mechanism_tells_what_is_unusual(
    planted: PlantedNetwork, study: Study, tmp_path: Path
) -> None:
    other = copied(study, tmp_path)
    data = TensorDataset(planted.x, planted.labels)
    lone = run_study(
        planted.model,
        data,
        1,
        other.path,
        replace(QUICK, n_mechanisms=1),
        classes=("left", "right"),
    )
    found = explain(lone, samples=[0, 1])
    assert (found.table["next"] == -1).all()
    assert (found.table["membership"] == 1).all()
    assert found.table["log_ratio"].isna().all()
    assert found.neurons["usual_next"].isna().all()
    far = found.neurons.groupby("position")["distance"]
    assert far.apply(lambda d: d.is_monotonic_decreasing).all()
