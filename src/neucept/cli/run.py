"""``neucept run``: a whole study of a network of the user's own."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from cyclopts import App, Parameter
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Dict

from neucept.cli.screen import progress
from neucept.cli.summary import show
from neucept.errors import SettingsError
from neucept.study.settings import StudySettings

if TYPE_CHECKING:
    from neucept.sources import StudyFile


def fill_from_study_file(
    app: App, commands: tuple[str, ...], arguments: ArgumentCollection
) -> None:
    """Give every flag that was left out the value from the study file, where one was named."""
    from neucept.sources import read_study_file

    _refuse_rounding(arguments)
    _find_study_file(arguments)
    named = next(a for a in arguments if a.field_info.name == "study_file").tokens
    if named:
        known = [field.name for field in fields(StudySettings)]
        said = read_study_file(named[0].value, known)
        # Before they become text, so that types are judged as TOML has them.
        StudySettings(**said.settings)
        # Under the command's name, because on its own the key "layers" is taken for the command.
        fill = Dict({commands[-1]: _as_flags(said)}, source=f"'{said.path}'")
        fill(app, commands, arguments)


def _refuse_rounding(arguments: ArgumentCollection) -> None:
    # cyclopts would make 2 of 1.5 without a word.
    for argument in arguments:
        for token in argument.tokens:
            hints = (argument.hint, *get_args(argument.hint))
            if int in hints and str not in hints and "." in token.value:
                raise SettingsError(f"{argument.name} is {token.value}. Pass a whole number.")


def _find_study_file(arguments: ArgumentCollection) -> None:
    # --target takes one class or two, so in "--target dog study.toml" the file comes to it.
    target, file = (
        next(a for a in arguments if a.field_info.name == name) for name in ("target", "study_file")
    )
    if len(target.tokens) > 1 and target.tokens[-1].value.endswith(".toml") and not file.tokens:
        file.append(target.tokens.pop())


def _as_flags(said: StudyFile) -> dict[str, Any]:
    target = said.target if isinstance(said.target, tuple) else (said.target,)
    if said.classes is not None:
        # A flag is text, where a class name goes before an index.
        target = tuple(c if isinstance(c, str) else said.classes[c] for c in target)
    flags = {
        "model": said.model,
        "weights": said.weights,
        "data": said.data,
        "classes": said.classes and list(said.classes),
        "metadata": said.metadata,
        "groups": said.groups,
        "target": [str(one) for one in target],
        "to": said.to,
        **said.settings,
    }
    return {name: _text(value) for name, value in flags.items() if value is not None}


def _text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _shown(default: object) -> str | None:
    if default is None:
        return None
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


run = App(
    name="run",
    config=fill_from_study_file,
    default_parameter=Parameter(consume_multiple=True, negative_iterable=(), show_default=_shown),
)


@run.default
def study(
    study_file: Path | None = None,
    /,
    *,
    model: str | None = None,
    weights: Path | None = None,
    data: str | None = None,
    classes: tuple[str, ...] | None = None,
    metadata: Path | None = None,
    groups: str | None = None,
    target: tuple[str, ...] | None = None,
    to: Path = Path("study"),
    images: bool = True,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    settings: Annotated[StudySettings, Parameter(name="*", group="Settings")] = StudySettings(),  # noqa: B008 - frozen
) -> None:
    """Study one class of a network: from its activations to the page.

    A study that was cut short goes on where it stopped; one that is finished is brought up to date.

    Args:
        study_file: A TOML file with the sections [model], [data] and [study]; flags go before it.
        model: The network's factory, 'file.py:function' or 'package.module:function'.
        weights: Its weights, as torch.save(model.state_dict(), path) writes them.
        data: The data factory, in the same form as the network's.
        classes: The class names, in the order of the network's outputs.
        metadata: A .csv or .parquet table of what else is known of the samples, one row each.
        groups: Its column that says which samples belong together, as those of one patient.
        target: The class to study, by name or index; two ask why the first rather than the second.
        to: The study folder.
        images: Show inputs on the page; --no-images leaves every one out.
        dry_run: Only say what would be done, and about how long it would take.
        settings: Everything else.
    """
    model, data, asked = _named(model=model, data=data, target=target)
    from neucept.report import write_report
    from neucept.sources import (
        class_names,
        load_data,
        load_model,
        read_table,
        table_of,
        target_index,
    )
    from neucept.study.origin import remember_origin
    from neucept.study.run import run_study

    target = asked[0] if len(asked) == 1 else asked
    if classes is not None:
        target_index(target, classes)
    table = None if metadata is None else read_table(metadata)
    network = load_model(model, weights)
    samples = load_data(data)
    table = table_of(samples) if table is None else table
    names = classes or class_names(samples)
    index = target_index(target, names)
    if dry_run:
        _plan(network, samples, index, settings, names)
        return
    with progress() as advance:
        finished = run_study(
            network,
            samples,
            index,
            to,
            settings,
            classes=names,
            metadata=table,
            groups=groups,
            progress=advance,
        )
    finished = remember_origin(finished, model, data, weights)
    page = write_report(finished, finished.path / "report.html", images=images)
    show(finished, page)


def _plan(network: Any, samples: Any, target: Any, settings: StudySettings, names: Any) -> None:
    from neucept.cli.plan import show_plan
    from neucept.study.plan import plan_study

    with progress() as advance:
        plan = plan_study(network, samples, target, settings, classes=names, progress=advance)
    show_plan(plan)


def _named(**needed: Any) -> list[Any]:
    missing = [f"--{name}" for name, value in needed.items() if value is None]
    if missing:
        raise SettingsError(
            f"{', '.join(missing)} missing. Name a study file (neucept run study.toml), or pass "
            "--model, --data and --target."
        )
    return list(needed.values())
