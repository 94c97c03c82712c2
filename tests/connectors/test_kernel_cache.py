"""Compiled kernels that come with an image, in a folder that cannot be written, are used all the same."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import pytest

from connectors import kernel_cache
from connectors.kernel_cache import use_kernel_cache

SETTINGS: Any = numba.config
LEFT = """
import os, pathlib, sys
from connectors import kernel_cache
if sys.argv[1] == "image":
    os.access = lambda path, mode: False
print(kernel_cache.use_kernel_cache())
"""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    folder = SETTINGS.CACHE_DIR
    kernel_cache._writable.cache_clear()
    yield
    SETTINGS.CACHE_DIR = folder
    kernel_cache._writable.cache_clear()


def test_a_folder_that_can_be_written_is_used_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = use_kernel_cache()
    assert folder.is_relative_to(tmp_path)
    assert str(folder) == SETTINGS.CACHE_DIR


def test_a_folder_that_cannot_be_written_is_copied_once_and_privately(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = use_kernel_cache()
    (folder / "swings").mkdir()
    (folder / "swings" / "kernel.nbc").write_text("compiled")
    kernel_cache._writable.cache_clear()
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    copy = use_kernel_cache()
    assert not copy.is_relative_to(tmp_path)
    assert (copy / "swings" / "kernel.nbc").read_text() == "compiled"
    assert copy.stat().st_mode & 0o777 == 0o700
    assert use_kernel_cache() == copy
    assert str(copy) == SETTINGS.CACHE_DIR


def test_a_folder_that_cannot_even_be_made_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lotus").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert use_kernel_cache().is_dir()


@pytest.mark.parametrize(("place", "left"), [("image", False), ("home", True)])
def test_only_a_copy_goes_with_its_process(place: str, left: bool, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT, place],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).exists() is left
