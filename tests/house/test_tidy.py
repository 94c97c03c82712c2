"""The house keeps its own rules; each failure names the cure."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("lotus", "schemas", "connectors", "flows")
LONGEST_FILE_LINES = 400
LONGEST_FUNCTION_LINES = 70
VAGUE_NAMES = {"utils", "helpers", "common", "misc", "manager", "base", "core", "data", "new", "old", "v2", "simple"}
SHARED_BY_FLOWS = ("flows.operators", "flows.stages")
CLOCKS = {
    "time",
    "random",
    "os",
    "socket",
    "logging",
    "pathlib",
    "datetime",
    "subprocess",
    "threading",
    "secrets",
    "uuid",
}


def files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, f"no files under {folders}: this test would prove nothing"
    return found


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_files_stay_short() -> None:
    long = {
        p.relative_to(ROOT): n for p in files(*ROOMS, "tests", "bench") if (n := len(p.read_text().splitlines())) > 400
    }
    assert not long, f"split these along what they do, at most {LONGEST_FILE_LINES} lines: {long}"


def test_functions_stay_short() -> None:
    long = []
    for path in files(*ROOMS, "bench"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > LONGEST_FUNCTION_LINES:
                long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not long, f"give each of these one job, at most {LONGEST_FUNCTION_LINES} lines: {long}"


def test_no_file_has_a_vague_name() -> None:
    vague = [p.relative_to(ROOT) for p in files(*ROOMS) if p.stem in VAGUE_NAMES]
    assert not vague, f"name these by what they hold: {vague}"


def test_thinking_reads_no_clock_and_rolls_no_dice() -> None:
    guilty = {
        p.relative_to(ROOT): bad for p in files("lotus") if (bad := {n.split(".")[0] for n in imports(p)} & CLOCKS)
    }
    assert not guilty, f"kernels are pure; move this to connectors: {guilty}"
    for path in files("lotus"):
        assert "np.random" not in path.read_text(), f"{path}: kernels roll no dice"


def test_kernels_use_nothing_that_breaks_the_chunk_law() -> None:
    banned = re.compile(
        r"np\.(cumsum|dot|matmul|convolve)\b|\.rolling\(|import (pandas|polars)|fastmath=True|parallel=True"
    )
    guilty = {p.relative_to(ROOT): m.group() for p in files("lotus") if (m := banned.search(p.read_text()))}
    assert not guilty, f"these give other bits when the input is cut differently: carry state instead: {guilty}"


def test_numba_enters_by_one_door() -> None:
    guilty = [
        p.relative_to(ROOT)
        for p in files("lotus")
        if p.name != "compiled.py" and "numba" in {n.split(".")[0] for n in imports(p)}
    ]
    assert not guilty, f"import `compiled` from lotus.compiled instead of numba: {guilty}"


def test_every_output_of_a_flow_is_a_partitioned_sink() -> None:
    banned = re.compile(
        r"\b(DynamicSink|StatelessSinkPartition|EventClock|SystemClock|bytewax\.connectors|bytewax\.operators\.windowing)\b"
    )
    guilty = {
        p.relative_to(ROOT): m.group() for p in files("flows", "connectors") if (m := banned.search(p.read_text()))
    }
    assert not guilty, f"it loses rows in a crash or reads the wall clock (docs/architecture.md): {guilty}"


def test_connectors_know_only_the_source_and_sink_classes_of_the_engine() -> None:
    allowed = ("bytewax.inputs", "bytewax.outputs")
    guilty = {
        p.relative_to(ROOT): bad
        for p in files("connectors")
        if (bad := {n for n in imports(p) if n.startswith("bytewax") and not n.startswith(allowed)})
    }
    assert not guilty, f"only flows know the engine, so that it stays replaceable: {guilty}"


def test_flows_do_not_import_each_other() -> None:
    dataflows = [p for p in files("flows") if re.search(r"^def build\(", p.read_text(), re.MULTILINE)]
    assert dataflows
    for path in dataflows:
        siblings = {n for n in imports(path) if n.startswith("flows.") and not n.startswith(SHARED_BY_FLOWS)}
        assert not siblings, f"{path.relative_to(ROOT)} imports {siblings}: flows meet through streams, not imports"


@pytest.mark.parametrize(
    "pattern",
    [
        r"\b(TODO|FIXME|XXX|HACK)\b",
        r"except Exception|except:",
        r"# type: ignore(?!\[)",
        r"pytest\.skip|mark\.(skip|xfail)",
    ],
)
def test_no_loose_ends(pattern: str) -> None:
    exempt = {Path(__file__).resolve()}
    if "skip" in pattern:
        exempt.add(ROOT / "tests" / "brokers.py")  # a broker that cannot be had is reported as not run
    guilty = [
        f"{p.relative_to(ROOT)}:{number}"
        for p in files(*ROOMS, "tests", "bench")
        if p.resolve() not in exempt
        for number, line in enumerate(p.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not guilty, f"finish or name it: {guilty}"


def test_nothing_committed_names_a_place_that_only_one_machine_has() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    places = re.compile(r"/(work|root|home)/[a-z]|pypi\.org|files\.pythonhosted")
    guilty = []
    for name in tracked:
        path = ROOT / name
        if (
            path.suffix in {".py", ".md", ".toml", ".sql", ".lock", ""}
            and path.is_file()
            and path.resolve() != Path(__file__).resolve()
        ):
            guilty += [name for line in path.read_text(errors="replace").splitlines() if places.search(line)][:1]
    assert not guilty, f"write what holds on every machine: {guilty}"
