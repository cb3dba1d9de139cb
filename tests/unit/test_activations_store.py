"""Reading activations: round trips, rows, damage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import LocalStore

from neucept.activations import Activations, Layout
from neucept.activations.store import _by_layer
from neucept.activations.writer import Writer
from neucept.errors import DataError, ModelError, SettingsError, StorageError, StudyError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 5)).astype(np.float32)
OUTPUTS = RNG.normal(size=(12, 3)).astype(np.float32)
LABELS = np.arange(12) % 3


def stored(folder: Path, samples: int = 12, chunk_rows: int = 4) -> Activations:
    """A store on disk of several chunks per layer."""
    x = RNG.normal(size=(samples, 5)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neucept.activations.writer.CHUNK_BYTES", 4 * 5 * chunk_rows)
        writer = Writer(LocalStore(folder), pool="mean")
        writer.add_layer("fc1", "linear", Layout((5,)), np.dtype("float32"))
        for start in range(0, samples, 3):
            part = x[start : start + 3]
            names = [f"é{i}" for i in range(start, start + len(part))]
            writer.append({"fc1": part}, part[:, :3], np.arange(len(part)), names)
        writer.finish()
    return Activations.open(folder)


def test_from_arrays_needs_no_model() -> None:
    acts = Activations.from_arrays(
        {"fc1": X, "fc2": torch.from_numpy(X[:, :2])}, OUTPUTS, LABELS, [f"s{i}" for i in range(12)]
    )
    assert acts.layers == ("fc1", "fc2")
    assert (acts.n_samples, acts.n_classes, acts.n_neurons("fc2")) == (12, 3, 2)
    assert np.array_equal(acts.matrix("fc1"), X)
    assert np.array_equal(acts.outputs, OUTPUTS)
    assert acts.predictions.tolist() == OUTPUTS.argmax(axis=1).tolist()
    assert acts.labels is not None
    assert acts.labels.tolist() == LABELS.tolist()
    assert acts.ids[3] == "s3"
    assert acts.path is None
    assert repr(acts) == "Activations(12 samples; fc1 (5), fc2 (2))"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int32])
def test_tensors_of_every_precision_are_taken(dtype: torch.dtype) -> None:
    given = torch.from_numpy(X).to(dtype).requires_grad_(dtype.is_floating_point)
    outputs = torch.from_numpy(OUTPUTS).to(dtype)
    acts = Activations.from_arrays({"fc1": given}, outputs)
    assert np.array_equal(acts.matrix("fc1"), given.detach().float().numpy())
    assert np.array_equal(acts.outputs, outputs.float().numpy())


def test_layers_may_have_any_name() -> None:
    names = ["labels", "outputs", "ids", "a/b", "..", "é", ""]
    acts = Activations.from_arrays({name: X + i for i, name in enumerate(names)}, OUTPUTS, LABELS)
    for i, name in enumerate(names):
        assert np.array_equal(acts.matrix(name), X + i)


def test_class_score_is_that_of_the_outputs() -> None:
    acts = Activations.from_arrays({"fc1": X}, OUTPUTS)
    others = np.log(np.exp(OUTPUTS[:, 1:].astype(np.float64)).sum(axis=1))
    np.testing.assert_allclose(acts.class_score(0), OUTPUTS[:, 0] - others, rtol=1e-6)
    assert np.array_equal(acts.class_score(2, "raw"), OUTPUTS[:, 2].astype(np.float64))


def test_what_is_handed_out_cannot_change_the_store() -> None:
    acts = Activations.from_arrays({"fc1": X}, OUTPUTS, LABELS)
    acts.matrix("fc1")[:] = 0
    assert np.array_equal(acts.matrix("fc1"), X)
    for array in (acts.outputs, acts.predictions, acts.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


WRONG = {
    "nothing": (({}, OUTPUTS), "no layers"),
    "a vector": (({"fc1": X[:, 0]}, OUTPUTS), r"layer 'fc1' is float32 of shape \(12,\)"),
    "text": (({"fc1": X.astype(str)}, OUTPUTS), "layer 'fc1' is <U"),
    "no neurons": (({"fc1": X[:, :0]}, OUTPUTS), r"shape \(12, 0\)"),
    "no samples": (({"fc1": X[:0]}, OUTPUTS[:0]), r"shape \(0, 5\)"),
    "fewer samples": (({"fc1": X[:9]}, OUTPUTS), "'fc1' has 9 samples, outputs have 12"),
    "outputs of one dimension": (({"fc1": X}, OUTPUTS[:, 0]), "outputs is float32"),
    "NaN": (({"fc1": np.where(X == X[7, 2], np.nan, X)}, OUTPUTS), "'7' gives nan in layer 'fc1'"),
    "infinite outputs": (({"fc1": X}, OUTPUTS * np.inf), "'0' gives .*inf in the model's output"),
    "ragged lists": (({"fc1": [[1, 2], [3]]}, OUTPUTS), "layer 'fc1' is not one table of numbers"),
    "ragged outputs": (({"fc1": X}, [[1, 2], [3]]), "outputs is not one table of numbers"),
    "a sparse tensor": (
        ({"fc1": torch.from_numpy(X).to_sparse()}, OUTPUTS),
        "layer 'fc1' is not one table of numbers",
    ),
    "too large": (({"fc1": X.astype(np.float64) * 1e300}, OUTPUTS), "gives .*inf in layer"),
    "fewer labels": (({"fc1": X}, OUTPUTS, LABELS[:5]), "5 labels for 12 samples"),
    "float labels": (({"fc1": X}, OUTPUTS, LABELS * 0.5), "labels of arrays are float64"),
    "fewer ids": (({"fc1": X}, OUTPUTS, None, ["a"]), "1 ids for 12 samples"),
}


@pytest.mark.parametrize(("arguments", "text"), WRONG.values(), ids=WRONG)
def test_arrays_that_do_not_fit(arguments, text: str) -> None:
    with pytest.raises(DataError, match=text):
        Activations.from_arrays(*arguments)


@pytest.mark.parametrize("arrays", [[X], X, None])
def test_matrices_without_layer_names_are_refused(arrays: object) -> None:
    with pytest.raises(DataError, match=r"arrays is a \w+\. Pass a mapping of layer names"):
        _by_layer(arrays)


# round trips


@settings(max_examples=25, deadline=None)
@given(
    samples=st.integers(1, 40),
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    labelled=st.booleans(),
    names=st.data(),
    seed=st.integers(0, 99),
)
def test_saved_and_opened_is_the_same(
    tmp_path_factory, samples, widths, labelled, names, seed
) -> None:
    rng = np.random.default_rng(seed)
    arrays = {f"layer{i}.fc": rng.normal(size=(samples, w)) for i, w in enumerate(widths)}
    ids = names.draw(st.lists(st.text(max_size=5), min_size=samples, max_size=samples))
    labels = rng.integers(-1, 4, samples) if labelled else None
    acts = Activations.from_arrays(arrays, rng.normal(size=(samples, 2)), labels, ids)
    path = tmp_path_factory.mktemp("store") / "acts.zarr"
    acts.save(path)
    again = Activations.open(path)
    assert again.digest() == acts.digest()
    assert (again.layers, again.ids, again.kinds) == (acts.layers, tuple(ids), acts.kinds)
    assert np.array_equal(again.outputs, acts.outputs)
    assert (again.labels is None) == (labels is None)
    assert labels is None or np.array_equal(again.labels, labels)
    for name, array in arrays.items():
        assert np.array_equal(again.matrix(name), array.astype(np.float32))


def test_digest_is_of_the_content(tmp_path: Path) -> None:
    acts = Activations.from_arrays({"a": X, "b": X, "c": X + 1}, OUTPUTS)
    assert acts.digest("a") == acts.digest("b") != acts.digest("c")
    assert acts.digest("a") != Activations.from_arrays({"a": X[::-1]}, OUTPUTS).digest("a")
    assert acts.digest("a") != Activations.from_arrays(
        {"a": X.reshape(20, 3)}, X[:1].repeat(20, 0)
    ).digest("a")
    variants = [
        Activations.from_arrays({"a": X}, OUTPUTS),
        Activations.from_arrays({"b": X}, OUTPUTS),
        Activations.from_arrays({"a": X}, OUTPUTS + 1),
        Activations.from_arrays({"a": X}, OUTPUTS, LABELS),
        Activations.from_arrays({"a": X}, OUTPUTS, ids=list("abcdefghijkl")),
    ]
    assert len({variant.digest() for variant in variants}) == len(variants)


def test_digest_does_not_depend_on_chunks(tmp_path: Path) -> None:
    one = stored(tmp_path / "one", chunk_rows=4)
    x = one.matrix("fc1")
    assert one.digest("fc1") == Activations.from_arrays({"fc1": x}, x).digest("fc1")


# rows


@given(st.data())
def test_rows_are_those_of_the_whole(data) -> None:
    acts = Activations.from_arrays({"fc1": X}, OUTPUTS)
    position = st.integers(0, 11)
    rows = data.draw(
        st.lists(position)
        | st.lists(position).map(np.array)
        | st.lists(st.booleans(), min_size=12, max_size=12).map(np.array)
        | st.tuples(position, position, st.integers(1, 3)).map(lambda s: slice(*s))
    )
    expected = X[np.asarray(rows, dtype=np.int64) if np.size(rows) == 0 else rows]
    assert np.array_equal(acts.matrix("fc1", rows), expected)


@pytest.mark.parametrize(
    "rows",
    [
        *([-1], [12], [0, 99], slice(-3, None), slice(0, 13), slice(None, None, -1)),
        *([0.5], [[1]], np.ones(11, dtype=bool)),
    ],
)
def test_rows_that_do_not_exist(rows) -> None:
    acts = Activations.from_arrays({"fc1": X}, OUTPUTS)
    index = rows if isinstance(rows, slice) else np.asarray(rows)
    with pytest.raises(SettingsError, match=r"rows is|Row"):
        acts.matrix("fc1", index)


def test_only_the_chunks_that_hold_the_rows_are_read(tmp_path: Path, monkeypatch) -> None:
    acts = stored(tmp_path / "acts", samples=40, chunk_rows=4)
    whole = acts.matrix("fc1")
    read: list[str] = []
    get = LocalStore.get

    async def watched(self, key, *arguments, **named):
        read.append(key)
        return await get(self, key, *arguments, **named)

    monkeypatch.setattr(LocalStore, "get", watched)
    assert np.array_equal(acts.matrix("fc1", [33, 1, 2]), whole[[33, 1, 2]])
    assert sorted(k for k in read if "/c/" in k) == ["layer0000/c/0/0", "layer0000/c/8/0"]


def test_unknown_layer() -> None:
    acts = Activations.from_arrays({"hidden": X}, OUTPUTS)
    for ask in (acts.matrix, acts.n_neurons, acts.digest):
        with pytest.raises(ModelError, match=r"'hiden' was not recorded. Did you mean 'hidden'"):
            ask("hiden")


# damage


def edit_attributes(folder: Path, **changes: object) -> None:
    path = folder / "zarr.json"
    content = json.loads(path.read_text())
    content["attributes"] |= changes
    path.write_text(json.dumps(content))


def chunks(folder: Path, array: str) -> list[Path]:
    return sorted(p for p in (folder / array / "c").rglob("*") if p.is_file())


DAMAGE = {
    "absent": (shutil.rmtree, StorageError, "There is no activations store"),
    "empty": (lambda f: [shutil.rmtree(f), f.mkdir()], StorageError, "is not an activations store"),
    "root cut short": (lambda f: (f / "zarr.json").write_text("{"), StorageError, "is not an act"),
    "foreign": (lambda f: edit_attributes(f, format="x"), StorageError, "not one of activations"),
    "newer": (lambda f: edit_attributes(f, version=99), StudyError, "have format 99"),
    "half written": (lambda f: edit_attributes(f, complete=False), StorageError, "half written"),
    "no layers": (lambda f: edit_attributes(f, layers=7), StorageError, "description of .*damaged"),
    "layer lost": (lambda f: shutil.rmtree(f / "layer0000"), StorageError, "Layer 'fc1'.*missing"),
    "outputs lost": (lambda f: shutil.rmtree(f / "outputs"), StorageError, "Outputs .*missing"),
    "other samples": (
        lambda f: edit_attributes(f, samples=9),
        StorageError,
        r"has shape \(12, 5\)",
    ),
    "chunk lost": (lambda f: chunks(f, "layer0000")[1].unlink(), StorageError, "'fc1'.*incomplete"),
    "chunk cut short": (
        lambda f: chunks(f, "layer0000")[0].write_bytes(
            chunks(f, "layer0000")[0].read_bytes()[:-9]
        ),
        StorageError,
        "Layer 'fc1'.*cannot be read",
    ),
    "chunk changed": (
        lambda f: chunks(f, "outputs")[0].write_bytes(
            bytes(len(chunks(f, "outputs")[0].read_bytes()))
        ),
        StorageError,
        "Outputs .*cannot be read",
    ),
    "labels lost": (lambda f: chunks(f, "labels")[0].unlink(), StorageError, "Labels .*incomplete"),
    "ids lost": (lambda f: chunks(f, "ids")[0].unlink(), StorageError, "Ids .*incomplete"),
}


@pytest.mark.parametrize(("damage", "error", "text"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told_in_one_line(damage, error, text: str, tmp_path: Path) -> None:
    folder = tmp_path / "acts"
    stored(folder)
    damage(folder)
    with pytest.raises(error, match=text) as caught:
        acts = Activations.open(folder)
        acts.matrix("fc1"), acts.outputs, acts.labels, acts.ids
    assert "\n" not in str(caught.value)


def test_undamaged_rows_of_a_damaged_store_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "acts"
    whole = stored(folder).matrix("fc1")
    chunks(folder, "layer0000")[1].unlink()
    assert np.array_equal(Activations.open(folder).matrix("fc1", slice(0, 4)), whole[:4])


def test_a_store_that_was_never_finished_is_recognised(tmp_path: Path) -> None:
    writer = Writer(LocalStore(tmp_path / "acts"), pool="mean")
    writer.add_layer("fc1", "linear", Layout((5,)), np.dtype("float32"))
    writer.append({"fc1": X}, OUTPUTS, None, [str(i) for i in range(12)])
    with pytest.raises(StorageError, match="only half written"):
        Activations.open(tmp_path / "acts")


def test_saving_does_not_replace_other_things(tmp_path: Path) -> None:
    acts = Activations.from_arrays({"fc1": X}, OUTPUTS)
    (tmp_path / "note.txt").write_text("keep")
    with pytest.raises(StorageError, match="not replaced"):
        acts.save(tmp_path)
    acts.save(tmp_path / "acts")
    acts.save(tmp_path / "acts")
    assert (tmp_path / "note.txt").read_text() == "keep"
