"""SIGKILL, as an operating system out of memory would: the study goes on and ends the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

TINY = Path(__file__).parents[1] / "tiny_study"
COMMAND = [sys.executable, "-m", "neucept", "run", "study.toml", "--draws", "2"]


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        COMMAND, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def tables(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((folder / "study").glob("*.parquet"))}


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_killed_at_random_moments_it_ends_with_byte_equal_tables(tmp_path: Path) -> None:
    whole, killed = (shutil.copytree(TINY, tmp_path / name) for name in ("whole", "killed"))
    begun = time.monotonic()
    assert start(whole).wait() == 0
    seconds = time.monotonic() - begun
    moments = np.random.default_rng(0).uniform(0.2, 0.9, size=5) * seconds
    alive = 0
    for moment in moments:
        running = start(killed)
        try:
            running.wait(timeout=moment / 2)
        except subprocess.TimeoutExpired:
            alive += 1
            running.kill()
            running.wait()
    assert alive >= 3
    assert start(killed).wait() == 0
    assert len(tables(whole)) == 10
    assert tables(killed) == tables(whole)
    assert not list((killed / "study").glob(".writing.*"))
