"""``neucept explain``: which mechanism is behind a prediction, and how typical it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from neucept.cli.screen import console, one_line, progress
from neucept.errors import SettingsError

if TYPE_CHECKING:
    from neucept.study.explaining import Explanation
    from neucept.study.folder import Study


def explain(
    study: Path,
    /,
    *samples: str,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    data: str | None = None,
    foreign: str | None = None,
    model: str | None = None,
    weights: Path | None = None,
    study_file: Path | None = None,
    level: float = 0.05,
    neurons: int = 5,
    batch_size: int = 256,
    device: str = "auto",
    csv: Path | None = None,
    json: Path | None = None,
    page: Path | None = None,
    images: bool = True,
) -> None:
    """Tell which mechanism is behind each prediction, how typical it is, and what decided.

    Samples that the study recorded need nothing but its folder. For new ones (--data, --foreign)
    the network that the study was run with is loaded again, from where 'neucept run' found it.

    Args:
        study: The study folder.
        samples: Positions in the data, or ids.
        every: Explain all samples, and say how well low typicality finds wrong predictions.
        data: A data factory of new samples, 'file.py:function' or 'package.module:function'.
        foreign: A data factory of inputs that belong to no class: how well are they found?
        model: The network's factory, where the study does not say or it has moved.
        weights: The weights that go with --model.
        study_file: A study file whose [model] is the network, in place of --model.
        level: Typicality at or under which a prediction is called atypical.
        neurons: Deciding neurons shown for each sample.
        batch_size: Samples per forward pass.
        device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
        csv: A file for the table of samples.
        json: A file for everything: samples, their deciding neurons and near prototypes.
        page: An HTML file that shows it: pictures, deciding neurons, how typical.
        images: Show inputs on the page; --no-images leaves every one out.
    """
    new = data is not None or foreign is not None
    _check(samples, every, foreign, new, bool(model or weights or study_file), page, images)
    from neucept.cli.explained import show_explained, show_reliability, write_csv, write_json
    from neucept.sources import load_data
    from neucept.study.explaining import explain as explain_samples
    from neucept.study.folder import Study

    opened = Study.open(study)
    network = _network(opened, model, weights, study_file) if new else None
    more: dict[str, Any] = {"level": level, "batch_size": batch_size, "device": device}
    with progress() as advance:
        explained = explain_samples(
            opened,
            network,
            None if data is None else load_data(data),
            samples=None if every else samples,
            most=neurons,
            progress=advance,
            **more,
        )
        strange = None
        if foreign is not None:
            strange = explain_samples(
                opened, network, load_data(foreign), most=1, progress=advance, **more
            )
    if csv is not None:
        write_csv(explained.table, csv)
    if json is not None:
        write_json(explained, json)
    show_explained(opened, explained, every=every)
    if every:
        show_reliability(explained, strange)
    if page is not None:
        again = load_data(data) if data is not None and images else None
        options = {"every": every, "foreign": strange, "data": again, "images": images}
        _write_page(opened, explained, page, options)


def _check(
    samples: tuple[str, ...],
    every: bool,
    foreign: str | None,
    new: bool,
    network: bool,
    page: Path | None,
    images: bool,
) -> None:
    if bool(samples) == every:
        raise SettingsError("Name samples by position or id, or pass --all; one of the two.")
    if foreign is not None and not every:
        raise SettingsError("--foreign measures how well foreign inputs are found. Pass --all too.")
    if not new and network:
        raise SettingsError(
            "The study's own samples need no network: --model, --weights and --study-file go with "
            "--data or --foreign."
        )
    if not images and page is None:
        raise SettingsError("--no-images is about the page. Pass --page too.")


def _write_page(
    study: Study, explained: Explanation, page: Path, options: Mapping[str, Any]
) -> None:
    from neucept.report import write_explanation

    write_explanation(study, explained, page, **options)
    console().print(f"Page: {one_line(page)}", soft_wrap=True)


def _network(study: Study, model: str | None, weights: Path | None, study_file: Path | None) -> Any:
    from neucept.sources import load_model, read_study_file
    from neucept.study.origin import recall_model

    if model is not None:
        return load_model(model, weights)
    if study_file is not None:
        said = read_study_file(study_file)
        return load_model(said.model, weights or said.weights)
    return recall_model(study)
