"""Folders named by a run, and the digest that names the code."""

from pathlib import Path

import pytest

from connectors import revision
from connectors.folders import recovery_folder
from connectors.inputs import InputError
from connectors.revision import code_revision


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_a_recovery_store_belongs_to_its_run_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    folder = recovery_folder("3f2a-nightly.1")
    assert folder == tmp_path / "lotus" / "recovery" / "3f2a-nightly.1"
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("run_id", ["", ".", "..", "../other", "a/b", "/abs", ".hidden", "a b", "a" * 101])
def test_a_run_id_that_leads_elsewhere_is_refused(run_id: str) -> None:
    with pytest.raises(InputError, match="is no run id"):
        recovery_folder(run_id)


def test_the_revision_changes_with_any_source_file_and_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revision, "ROOT", tmp_path)
    (tmp_path / "room").mkdir()
    seen = [code_revision(("room",))]
    source = tmp_path / "room" / "one.py"
    for change in (
        lambda: source.write_text("x = 1"),
        lambda: source.write_text("x = 2"),
        lambda: source.rename(tmp_path / "room" / "two.py"),
        lambda: (tmp_path / "room" / "three.sql").write_text(""),
    ):
        change()
        seen.append(code_revision(("room",)))
    (tmp_path / "room" / "notes.md").write_text("not code")
    assert len(set(seen)) == 5
    assert code_revision(("room",)) == seen[-1]
