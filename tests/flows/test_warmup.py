"""Kernels are compiled once, whoever comes first."""

import threading
from pathlib import Path

import pytest

from flows import warmup


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The compilations of an empty cache, which take as long as it takes to say so."""
    calls: list[str] = []

    def compile_kernels() -> None:
        calls.append("compiled")
        threading.Event().wait(0.05)
        (tmp_path / warmup.COMPLETE).touch()

    monkeypatch.setattr(warmup, "use_kernel_cache", lambda: tmp_path)
    monkeypatch.setattr(warmup, "compile_kernels", compile_kernels)
    return calls


def test_who_comes_while_another_compiles_waits_and_does_not_compile(compiled: list[str]) -> None:
    told: list[str] = []
    flows = [threading.Thread(target=warmup.ensure_kernels, args=(told.append,)) for _ in range(4)]
    for flow in flows:
        flow.start()
    for flow in flows:
        flow.join()
    assert compiled == ["compiled"]
    assert told == ["compiling the kernels"]


def test_a_cache_that_a_dead_process_left_half_filled_is_completed(compiled: list[str], tmp_path: Path) -> None:
    (tmp_path / "river.one.nbc").touch()
    warmup.ensure_kernels(lambda _: None)
    assert compiled == ["compiled"]
