"""The stages of a study: each is recalled from the folder when it is there, else computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from time import perf_counter
from typing import Any

from neucept.runtime import Checkpoints, Progress, digest
from neucept.study.folder import Workplace


@dataclass
class Stages:
    """What is done in one folder.

    Attributes:
        place: The folder.
        progress: Called as ``progress(stage, done, total)``.
        keys: By stage, a name for all that its result depends on.
        checkpoints: Pieces of a stage that was cut short.
    """

    place: Workplace
    progress: Progress | None
    keys: dict[str, str] = field(init=False, default_factory=dict)
    checkpoints: Checkpoints = field(init=False)

    def __post_init__(self) -> None:
        self.checkpoints = Checkpoints(self.place.place / ".pieces")

    def stage(
        self,
        name: str,
        after: str | None,
        settings: Mapping[str, Any],
        files: tuple[str, ...],
        compute: Callable[[], None],
    ) -> bool:
        """Compute a stage unless it was finished with the same settings after the same stage.

        Returns:
            Whether it was computed.
        """
        key = digest(name, self.keys.get(after or ""), dict(settings), version("neucept"))
        self.keys[name] = key
        if self.place.has(name, key, files):
            return False
        begun = perf_counter()
        compute()
        self.place.unfinish()
        self.place.finish(name, key, perf_counter() - begun, files)
        return True

    def told(self, stage: str, done: int, total: int) -> None:
        """Say how far a stage is."""
        if self.progress is not None:
            self.progress(stage, done, total)
