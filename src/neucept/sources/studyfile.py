"""The study file: which network, which data, which class, in one TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from neucept.errors import SettingsError, StorageError, near_names
from neucept.sources.factories import is_file, split_spec

SECTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "model": ("factory", "weights"),
        "data": ("factory", "classes", "metadata", "groups"),
        "study": ("target", "to"),
    }
)
"""The sections of a study file and their keys; [study] also takes every study setting."""


@dataclass(frozen=True)
class StudyFile:
    """What a study file says, with its paths made absolute."""

    path: Path
    """The study file itself."""
    model: str
    """The model factory, ``file.py:name`` or ``package.module:name``."""
    data: str
    """The data factory, in the same form."""
    target: str | int | tuple[str | int, ...]
    """The class to study, by name or index; two for a contrast."""
    to: Path
    """The study folder."""
    weights: Path | None = None
    """The weights file."""
    classes: tuple[str, ...] | None = None
    """The class names, in the order of the network's outputs."""
    metadata: Path | None = None
    """The table of what else is known of the samples."""
    groups: str | None = None
    """Its column that says which samples belong together."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The remaining keys of [study], as TOML gave them."""


def read_study_file(path: Path | str, known_settings: Collection[str] | None = None) -> StudyFile:
    """Read a study file.

    Args:
        path: A TOML file with the sections [model], [data] and [study]. Relative paths in it are
            relative to its own folder.
        known_settings: The settings that [study] may hold; None leaves that check to whoever uses
            `StudyFile.settings`.

    Returns:
        The file's content, its paths absolute.

    Raises:
        SettingsError: the TOML cannot be parsed, or a section, key, type or class is wrong.
        StorageError: the file is missing or cannot be read.
    """
    path = Path(path)
    content = _parse(path)
    _check_names(content, path, known_settings)
    folder = path.resolve().parent
    model, data, study = (_section(content, name, path) for name in SECTIONS)
    classes = _classes(data, path)
    target = _target(study, classes, path)
    return StudyFile(
        path=path,
        model=_factory(model, "model", folder, path),
        data=_factory(data, "data", folder, path),
        target=target,
        to=folder / _text(study, "study", "to", path, default="study"),
        weights=folder / _text(model, "model", "weights", path) if "weights" in model else None,
        classes=classes,
        metadata=folder / _text(data, "data", "metadata", path) if "metadata" in data else None,
        groups=_text(data, "data", "groups", path) if "groups" in data else None,
        settings=MappingProxyType({k: v for k, v in study.items() if k not in SECTIONS["study"]}),
    )


def class_index(target: str | int, classes: Sequence[str] | None) -> int:
    """The index of a class that was named or numbered.

    Args:
        target: A class name, or an index from 0; text of digits counts as an index unless it is a
            class name.
        classes: The class names in the order of the network's outputs; None if there are none.

    Returns:
        The index, at least 0.

    Raises:
        SettingsError: there is no such class, or a name came without class names.
    """
    if classes is not None and target in classes:
        return list(classes).index(str(target))
    text = str(target).strip()
    if isinstance(target, bool) or not text.removeprefix("-").isdecimal():
        if classes is None:
            raise SettingsError(
                f"The target '{target}' is a class name, but no class names are known. Give them "
                "([data] classes, or --classes), or pass the class's index."
            )
        raise SettingsError(f"There is no class '{target}'. {near_names(text, classes)}")
    index = int(text)
    if index < 0 or (classes is not None and index >= len(classes)):
        most = "" if classes is None else f" to {len(classes) - 1}"
        raise SettingsError(f"The target is class {index}. Class indices run from 0{most}.")
    return index


def target_index(
    target: str | int | tuple[str | int, ...] | list[str | int], classes: Sequence[str] | None
) -> int | tuple[int, int]:
    """The index of a class, or the two of a contrast, that were named or numbered.

    Args:
        target: A class as `class_index` takes it, or a tuple of two: the first rather than the
            second.
        classes: As in `class_index`.

    Returns:
        The index or the pair.

    Raises:
        SettingsError: there is no such class, the two are one, or it is neither a class nor a
            pair.
    """
    if not isinstance(target, tuple | list):
        return class_index(target, classes)
    if isinstance(target, list) or len(target) != 2:
        raise SettingsError(
            f"The target is {target!r}. Pass one class, or a pair (tuple) of two for a contrast: "
            "why the first rather than the second."
        )
    first, second = (class_index(one, classes) for one in target)
    if first == second:
        raise SettingsError(
            f"The target names the class '{target[0]}' twice. A contrast needs two different "
            "classes."
        )
    return first, second


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(
            f"Cannot read the study file '{path}': {error.strerror or error}. Check its path."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"The study file '{path}' is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"The study file '{path}' is not TOML: {error}. Mend that line."
        ) from error


def _check_names(
    content: Mapping[str, Any], path: Path, known_settings: Collection[str] | None
) -> None:
    for section in content:
        if section not in SECTIONS:
            raise SettingsError(
                f"'{path}' has an unknown section or key '{section}'. "
                f"{near_names(section, SECTIONS)}"
            )
    for section, keys in SECTIONS.items():
        known = list(keys)
        if section == "study":
            if known_settings is None:
                continue
            known.extend(name for name in known_settings if name not in keys)
        for key in _section(content, section, path):
            if key not in known:
                raise SettingsError(
                    f"'{path}' has an unknown key '{key}' in [{section}]. "
                    f"{near_names(key, known, 30)}"
                )


def _section(content: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    section = content.get(name)
    if section is None:
        raise SettingsError(
            f"'{path}' has no section [{name}]. It needs [model] factory, [data] factory and "
            "[study] target."
        )
    if not isinstance(section, dict):
        raise SettingsError(
            f"'{path}' has {name} = {section!r}. Write a section: [{name}] on a line of its own."
        )
    return section


def _text(
    section: Mapping[str, Any], name: str, key: str, path: Path, default: str | None = None
) -> str:
    value = section.get(key, default)
    if value is None:
        raise SettingsError(f"'{path}' has no '{key}' in [{name}]. Add a line: {key} = \"...\".")
    if not isinstance(value, str) or not value:
        raise SettingsError(f"'{path}' has {key} = {value!r} in [{name}]. Write text in quotes.")
    return value


def _factory(section: Mapping[str, Any], name: str, folder: Path, path: Path) -> str:
    spec = _text(section, name, "factory", path)
    place, factory = split_spec(spec, f"{name} factory", SettingsError)
    return f"{folder / place}:{factory}" if is_file(place) else spec


def _classes(section: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    names = section.get("classes")
    if names is None:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise SettingsError(
            f"'{path}' has classes = {names!r} in [data]. Write a list of names in quotes."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"'{path}' names the class '{twice[0]}' twice in [data] classes.")
    return tuple(names)


def _target(
    section: Mapping[str, Any], classes: tuple[str, ...] | None, path: Path
) -> str | int | tuple[str | int, ...]:
    target = section.get("target")
    if target is None:
        raise SettingsError(
            f"'{path}' has no 'target' in [study]. Add the class to study, by name or index."
        )
    named = target if isinstance(target, list) and len(target) == 2 else [target]
    if any(isinstance(one, bool) or not isinstance(one, str | int) for one in named):
        raise SettingsError(
            f"'{path}' has target = {target!r} in [study]. Write one class, by name or index, or "
            "two for a contrast."
        )
    said = tuple(named) if isinstance(target, list) else target
    if classes is not None or all(isinstance(one, int) for one in named):
        target_index(said, classes)
    return said
