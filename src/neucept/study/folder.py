"""The folder that holds a study: what lies where, what may be reused, and how it is read back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from neucept.errors import StorageError, StudyError
from neucept.runtime import TEMPORARY, write_bytes, writing
from neucept.study.contents import LATER, check_columns, check_entries

fcntl: ModuleType | None
try:
    fcntl = import_module("fcntl")
except ImportError:  # Windows
    fcntl = None

FORMAT = 1
"""Version of the folder's layout. A newer one is refused, an older one read or migrated."""

CRITICAL, AUDIT, AUDIT_TABLE = "critical neurons", "audit", "audit.parquet"
"""Two stages, and what the second leaves."""

KIND = "neucept study"
"""What ``study.json`` says that it is, so that a file of another program is not taken for ours."""


@dataclass(frozen=True)
class Study:
    """A finished study, read from its folder. It never holds the network.

    Attributes:
        path: The folder.
        info: What ``study.json`` says: target, settings, versions, one entry per layer, how many
            mechanisms, seconds per stage.
    """

    path: Path
    info: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> Study:
        """Open a finished study.

        Args:
            path: Its folder.

        Returns:
            The study; tables are read when they are asked for.

        Raises:
            StudyError: no study there, not finished, incomplete, or written by a newer version.
        """
        if not isinstance(path, str | os.PathLike):
            raise StudyError(f"The study's folder is {path!r}. Pass its path, as text or a Path.")
        place = Path(path)
        info = read_info(place)
        if info is None:
            raise StudyError(
                f"'{place}' holds no study. Run 'neucept run' first, with to='{place}'."
            )
        if not info.get("finished"):
            raise StudyError(
                f"The study in '{place}' is not finished. Run the same 'neucept run' again: "
                "it goes on where it stopped."
            )
        check_entries(place, info)
        return cls(place, info)

    def _table(self, name: str) -> pd.DataFrame:
        if name in LATER and not (self.path / f"{name}.parquet").exists():
            return pd.DataFrame({column: [] for column in LATER[name]})
        try:
            table = pd.read_parquet(self.path / f"{name}.parquet")
        except (OSError, ValueError) as error:
            raise StudyError(
                f"Cannot read '{name}.parquet' of the study in '{self.path}': {error}. "
                "Run 'neucept run' again to make it anew."
            ) from error
        check_columns(self.path, name, table.columns)
        return table

    @cached_property
    def critical(self) -> pd.DataFrame:
        """One row per neuron: layer, neuron, selected, e_value, score, frequency, note."""
        return self._table("critical")

    @cached_property
    def edges(self) -> pd.DataFrame:
        """One row per neuron and target: which critical neuron above it serves."""
        return self._table("edges")

    @cached_property
    def kept(self) -> pd.DataFrame:
        """How the core of each layer grows: layer, size, neuron, kept, measured; may be empty."""
        return self._table("kept")

    @cached_property
    def mechanisms(self) -> pd.DataFrame:
        """One row per mechanism: size, share, stability, accuracy, confidence, prototypes."""
        return self._table("mechanisms")

    @cached_property
    def signature(self) -> pd.DataFrame:
        """One row per mechanism and neuron: its quantiles beside those of the other mechanisms."""
        return self._table("signature")

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row per sample predicted as the target: mechanism, membership, typicality, map."""
        return self._table("samples")

    @cached_property
    def choice(self) -> pd.DataFrame:
        """One row per number of mechanisms that was considered."""
        return self._table("choice")

    @cached_property
    def tree(self) -> pd.DataFrame:
        """One row per merge of the tree, as `Mechanisms.tree`; empty in older studies."""
        return self._table("tree")

    @cached_property
    def associations(self) -> pd.DataFrame:
        """How the mechanisms go with metadata, as `associate` tells it; empty without metadata."""
        return self._table("associations")

    @cached_property
    def selectivity(self) -> pd.DataFrame:
        """What each mechanism's cut does to each, as `Selectivity.table`; empty without cuts."""
        return self._table("selectivity")

    @cached_property
    def ablation(self) -> pd.DataFrame:
        """One row per cut: layer, mode, keep, order, repeat, k, share, unchanged, probability."""
        return self._table("ablation")

    def thumbnail(self, position: int) -> bytes | None:
        """The small picture of a sample, as WebP bytes; None where there is none."""
        path = self.path / "thumbnails" / f"{int(position):06d}.webp"
        try:
            return path.read_bytes()
        except OSError:
            return None


def read_info(place: Path) -> dict[str, Any] | None:
    """What ``study.json`` says; None when the folder is missing, or empty but for leftovers.

    Raises:
        StudyError: something else lies there, the file is damaged, or the format is newer.
        StorageError: the folder cannot be read.
    """
    path = place / "study.json"
    try:
        if place.exists() and not place.is_dir():
            raise StudyError(f"'{place}' is a file. Give a folder for the study.")
        if not path.exists():
            foreign = [p.name for p in place.iterdir()] if place.exists() else []
            foreign = [name for name in foreign if not name.startswith(TEMPORARY)]
            if foreign:
                raise StudyError(
                    f"'{place}' is not empty and holds no study (it has '{sorted(foreign)[0]}'). "
                    "Choose another folder, or empty this one."
                )
            return None
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(f"Cannot read '{place}': {error.strerror or error}.") from error
    return _parsed(place, content)


def _parsed(place: Path, content: bytes) -> dict[str, Any]:
    try:
        info = json.loads(content)
        if not _is_ours(info):
            raise StudyError(
                f"'{place / 'study.json'}' was not written by neucept. "
                "Choose another folder, or empty this one."
            )
        version = int(info["format"])
        if version <= FORMAT:
            info |= {part: dict(info[part]) for part in ("identity", "stages")}
            info |= {part: dict(info.get(part, {})) for part in ("seconds", "sizes")}
    except (ValueError, KeyError, TypeError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else error
        raise StudyError(
            f"'{place / 'study.json'}' is damaged ({what}). "
            "Restore it, or remove the folder and run the study again."
        ) from error
    if version > FORMAT:
        raise StudyError(
            f"The study in '{place}' has format {version}; this neucept reads up to {FORMAT}. "
            "Update neucept to open it."
        )
    return dict(info)


def _is_ours(info: object) -> bool:
    # The first studies did not say what they are.
    return isinstance(info, dict) and (
        info.get("kind") == KIND or {"identity", "stages"} <= info.keys()
    )


def _locked(place: Path) -> int | None:
    """An open handle that keeps other runs out of the folder, until it is closed or we die."""
    if fcntl is None:
        return None
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle = os.open(place, os.O_RDONLY)
    except OSError as error:
        raise StorageError(
            f"Cannot make or open the folder '{place}': {error.strerror or error}. "
            "Choose another one with 'to'."
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise StudyError(
            f"Another run is working in '{place}'. Wait until it ends, or choose another folder."
        ) from error
    except OSError:
        pass  # a file system without locks: go on as if alone
    return handle


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder; -1 when it is not there."""
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size if path.exists() else -1


class Workplace:
    """A study folder while the study runs: finished stages are recalled, others computed."""

    def __init__(self, place: Path, identity: Mapping[str, str]) -> None:
        """Open or make the folder for one network, one target and one set of samples.

        Args:
            place: The folder.
            identity: Digests of the network, of the inputs, and the target.

        Raises:
            StudyError: the folder holds something else, or a study of something else.
            StorageError: it cannot be written.
        """
        self.place = place
        info = read_info(place)
        self._lock = _locked(place)
        try:
            self.info = self._taken_over(info or {}, identity)
            self._sweep()
            self.save()
        except BaseException:
            self.close()
            raise

    def _taken_over(self, info: Mapping[str, Any], identity: Mapping[str, str]) -> dict[str, Any]:
        stages = info.get("stages", {})
        accepted = info.get("accepted", False) or not stages.keys() <= {"capture"}
        if not accepted:
            # Refused or cut short at the start: what has been mended since is no other study.
            # What was captured is kept; whether it may be used, its key decides.
            kept = {part: dict(info.get(part, {})) for part in ("stages", "seconds", "sizes")}
            return {"kind": KIND, "format": FORMAT, "identity": dict(identity), **kept}
        for what, value in identity.items():
            if info["identity"].get(what) == value:
                continue
            if what == "set of samples" and "kind" not in info:
                # Their samples were digested by batch, which cannot be compared with this.
                raise StudyError(
                    f"The study in '{self.place}' was made by an earlier neucept and cannot be "
                    "continued. Choose another folder with 'to', or remove this one."
                )
            raise StudyError(
                f"'{self.place}' holds a study of another {what}. "
                "Choose another folder with 'to', or remove this one."
            )
        return {**info, "kind": KIND}

    def accept(self) -> None:
        """Say that the samples are fit for the study: from now on the folder is its own."""
        if not self.info.get("accepted"):
            self.save(accepted=True)

    def close(self) -> None:
        """Let other runs work in the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _sweep(self) -> None:
        for leftover in self.place.glob(f"{TEMPORARY}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def save(self, **more: Any) -> None:
        """Add to ``study.json`` and write it."""
        self.info.update(more)
        text = json.dumps(self.info, indent=1, sort_keys=True)
        write_bytes(self.place / "study.json", text.encode())

    def unfinish(self) -> None:
        """Say that the tables no longer belong together; called before any of them is replaced."""
        if self.info.get("finished"):
            self.save(finished=False)

    def has(self, stage: str, key: str, files: tuple[str, ...]) -> bool:
        """Whether a stage was finished with this key and its files are as they were then."""
        same = self.info["stages"].get(stage) == key
        known = self.info.get("sizes", {})
        return same and all(_size(self.place / name) == known.get(name, -1) for name in files)

    def finish(self, stage: str, key: str, seconds: float, files: tuple[str, ...]) -> None:
        """Record that a stage is done, and how large it left its files."""
        self.info["stages"][stage] = key
        sizes = {name: _size(self.place / name) for name in files}
        self.info["sizes"] = {**self.info.get("sizes", {}), **sizes}
        self.info["seconds"][stage] = round(seconds, 2)
        self.save()

    def audits(self) -> dict[str, Any]:
        """What ``neucept audit`` said of each layer, while the critical neurons are the same."""
        if not self.has(AUDIT, self.info["stages"].get(CRITICAL, ""), (AUDIT_TABLE,)):
            return {}
        entries = self.info.get("layers", [])
        return {entry["name"]: entry["audit"] for entry in entries if entry.get("audit")}

    def audited(self, seconds: float) -> None:
        """Record that the critical neurons, as they are now, have been audited."""
        self.finish(AUDIT, self.info["stages"][CRITICAL], seconds, (AUDIT_TABLE,))

    def forget(self, stage: str, *files: str) -> None:
        """Remove what a stage left that the study has no more, or that was of other neurons."""
        paths = [self.place / name for name in files]
        if stage in self.info["stages"] or any(path.exists() for path in paths):
            self.unfinish()
        for path in paths:
            path.unlink(missing_ok=True)
            self.info["sizes"].pop(path.name, None)
        for part in ("stages", "seconds"):
            self.info[part].pop(stage, None)

    def write_table(self, name: str, frame: pd.DataFrame) -> None:
        """Write one table, atomically."""
        self.unfinish()
        with writing(self.place / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)
