"""The rules of the house, as tests: which way imports run, and who may know what."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "store": {
        "analysis",
        "jobs",
        "torch",
        "torchcrf",
        "transformers",
        "datasets",
        "ray",
        "click",
        "rich",
        "sklearn",
    },
    "analysis": {
        "jobs",
        "torch",
        "torchcrf",
        "transformers",
        "datasets",
        "ray",
        "click",
        "rich",
        "zarr",
        "h5py",
    },
    "jobs": {"zarr", "h5py"},
}
ALLOWED = {
    "analysis/probing/probes/bilstm_crf.py": {"torch", "torchcrf"},  # no analysis but this probe needs them
    "store/cache/conversions.py": {"torch"},  # of what is read, for one who asks for a tensor
}
FILES = sorted(path for folder in FORBIDDEN for path in (ROOT / folder).rglob("*.py"))


def imported(path):
    """Top-level names of all imports of a file, also in functions; those of microtome without its name."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {module.removeprefix("microtome.").partition(".")[0] for module in modules}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    name = path.relative_to(ROOT).as_posix()
    forbidden = FORBIDDEN[name.partition("/")[0]]
    assert imported(path) & forbidden == ALLOWED.get(name, set())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_written_as_json_is_json(path):
    """By default Python writes NaN and Infinity, which no other reader of JSON takes."""
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    for call in calls:
        if ast.unparse(call.func) in ("json.dump", "json.dumps", "dump", "dumps"):
            options = {option.arg: ast.unparse(option.value) for option in call.keywords}
            assert options.get("allow_nan") == "False", f"{path}:{call.lineno}"


def test_json_is_written_by_calls_that_can_be_looked_at():
    """`map(json.dumps, ...)` and the like would pass by the test above."""
    for path in FILES:
        tree = ast.parse(path.read_text("utf-8"))
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("json.dump", "json.dumps"):
                assert id(node) in called, f"{path}:{node.lineno}"


def test_the_packages_are_imported_as_parts_of_microtome():
    """`store`, `analysis` and `jobs` are names that a user's own folders have."""
    for path in [*FILES, *(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [str(node.module)]
            else:
                continue
            tops = {module.partition(".")[0] for module in modules}
            assert tops & {"store", "analysis", "jobs"} == set(), f"{path}:{node.lineno}"


def module_name(path):
    """`jobs.kinds.adapt` of jobs/kinds/adapt.py, `jobs.kinds` of its __init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def imported_modules(path):
    """The modules of microtome that a file imports, also in functions and for types alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    own = {name.removeprefix("microtome.") for name in names if name.startswith("microtome.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in own}


def child(package, module):
    """What a package holds on the way to a module of it: a module, a package, or its own __init__."""
    return module.removeprefix(package).removeprefix(".").partition(".")[0] or "__init__"


def imports_within(package):
    """What the children of a package import of each other."""
    graph = {}
    for module, path in MODULES.items():
        if module == package or module.startswith(f"{package}."):
            one = child(package, module)
            graph.setdefault(one, set())
            for other in imported_modules(path):
                if other == package or other.startswith(f"{package}."):
                    graph[one].add(child(package, other))
            graph[one].discard(one)
    return graph


PACKAGES = sorted(module for module, path in MODULES.items() if path.name == "__init__.py")
# What jobs/ holds, lowest first: a room imports those above it in this list and none below.
ROOMS_OF_JOBS = (
    "hub_cache",
    "hub_errors",
    "hub",
    "yaml_files",
    "training_settings",
    "process",
    "demo",
    "data",
    "tasks",
    "models",
    "kinds",
    "run",
    "predict",
    "recompute",
    "suite",
    "schemas",
    "notebook",
    "publishing",
    "cli",
)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_holds_does_not_import_in_a_circle(package):
    list(graphlib.TopologicalSorter(imports_within(package)).static_order())  # CycleError names the circle


def test_the_rooms_of_jobs_are_imported_in_one_order():
    graph = imports_within("jobs")
    assert set(graph) == {*ROOMS_OF_JOBS, "__init__"}
    for place, room in enumerate(ROOMS_OF_JOBS):
        assert graph[room] <= {*ROOMS_OF_JOBS[:place], "__init__"}, room


def test_a_circle_would_be_found(monkeypatch):
    monkeypatch.setitem(MODULES, "jobs.yaml_files", ROOT / "jobs" / "suite" / "plan.py")
    with pytest.raises(graphlib.CycleError, match="yaml_files"):
        test_what_a_package_holds_does_not_import_in_a_circle("jobs")


def test_only_one_file_imports_ray():
    users = [path.name for path in FILES if "ray" in imported(path)]
    assert users == ["ray_executor.py"]


def test_there_is_no_room_without_a_name():
    names = {path.stem for path in FILES}
    assert names & {"utils", "util", "helpers", "helper", "misc", "common"} == set()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("microtome.store", ["torch", "transformers", "ray", "click", "sklearn", "zarr", "h5py", "pandas"]),
        ("microtome.store.cache.reader", ["zarr", "h5py", "pandas"]),
        ("microtome.analysis.probing.settings", ["scipy", "sklearn", "pandas"]),
        ("microtome.analysis.similarity_settings", ["scipy"]),
        ("microtome.jobs.suite.plan", ["scipy", "sklearn", "pandas", "torch", "zarr", "h5py", "rich"]),
        ("microtome.analysis.probing.run", ["torch", "transformers", "ray", "click"]),
        ("microtome.jobs.cli", ["torch", "transformers", "ray", "datasets", "peft", "matplotlib"]),
        ("microtome.jobs.kinds.probe", ["torch", "transformers", "ray", "datasets"]),
    ],
)
def test_importing_a_room_does_not_load_what_it_does_not_need(module, absent):
    code = f"import sys, {module}; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_python_file_says_what_it_is():
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


def subscripted(tree, attribute):
    """Lines where `x.<attribute>[...]` or `x.<attribute>.get(...)` is read."""
    for node in ast.walk(tree):
        inner = node.value if isinstance(node, ast.Subscript) else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            inner = node.func.value
        if isinstance(inner, ast.Attribute) and inner.attr == attribute:
            yield node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_store_looks_into_manifests(path):
    """Elsewhere an artifact has typed properties, and a cache and a checkpoint a description."""
    if path.relative_to(ROOT).parts[0] != "store":
        assert list(subscripted(ast.parse(path.read_text("utf-8")), "manifest")) == []


def test_one_file_knows_how_a_cache_describes_itself():
    text = re.compile(r"""(\[|get\()['"]cache['"]""")
    users = [path.name for path in FILES if text.search(path.read_text("utf-8"))]
    assert users == []


def test_what_a_job_noted_is_read_by_descriptions_only():
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if list(subscripted(ast.parse(path.read_text("utf-8")), "outputs"))
    }
    assert readers == {"store/cache/description.py", "jobs/models/adapter.py"}
