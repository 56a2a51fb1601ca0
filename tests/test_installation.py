"""An installed microtome, wheel or editable, in a folder that has `analysis`, `jobs` and `store` itself."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("store", "analysis", "jobs")
OWN = 'raise ImportError("the folder of the user was imported")\n'
USE = """
import sys
import microtome
from microtome import open_cache
with open_cache(sys.argv[1]) as cache:
    print(cache.hidden(2).shape)
print(microtome.__file__)
"""
FIND = "import importlib.util as u; print([n for n in ('store', 'analysis', 'jobs') if u.find_spec(n)])"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built from a copy: a build leaves folders behind."""
    pytest.importorskip(
        "setuptools", "77", reason="building a wheel needs setuptools, as make setup installs"
    )
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in (*ROOMS, "src"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    build = f"from setuptools import build_meta; print(build_meta.build_wheel({str(out)!r}))"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True, timeout=300)
    [path] = out.glob("*.whl")
    return path


@pytest.fixture
def unpacked(wheel, tmp_path):
    """A folder with the wheel in it, as pip would install it."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def workplace(tmp_path):
    """A user's folder, with files of the names that the repository's folders have."""
    folder = tmp_path / "work"
    for package in ("analysis", "jobs"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(OWN)
    (folder / "store.py").write_text(OWN)
    (folder / "metrics.py").write_text(OWN)
    return folder


def run(code, *arguments, cwd, site=None, command=("-c",)):
    """What Python prints in a folder, whose own files are the first to be imported."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = "" if site is None else str(site)
    line = [sys.executable, *command, code, *map(str, arguments)]
    done = subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def cli(cwd, site=None):
    """The function of the console script, as a script in a folder of its own would call it."""
    code = "import sys; from microtome.jobs.cli import main; sys.argv = ['microtome', 'task', 'ls']; main()"
    return run(code, cwd=cwd, site=site)


def test_a_wheel_is_used_from_a_folder_with_the_same_names(small_cache, unpacked, workplace):
    shape, file = run(USE, small_cache.artifact.path, cwd=workplace, site=unpacked).splitlines()
    assert shape == "(12, 6)"
    assert Path(file) == unpacked / "microtome" / "__init__.py"
    assert "jnlpba" in cli(workplace, unpacked)


def test_the_editable_install_is_used_from_a_folder_with_the_same_names(small_cache, workplace):
    shape, file = run(USE, small_cache.artifact.path, cwd=workplace).splitlines()
    assert shape == "(12, 6)"
    assert Path(file).resolve() == ROOT / "src" / "microtome" / "__init__.py"
    assert "jnlpba" in cli(workplace)


def test_nothing_but_microtome_can_be_imported(wheel, unpacked, tmp_path):
    (tmp_path / "empty").mkdir()
    assert run(FIND, cwd=tmp_path / "empty") == "[]"
    assert run(FIND, cwd=tmp_path / "empty", site=unpacked) == "[]"
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"microtome"}
    importable = [path.name for path in (ROOT / "src").iterdir() if path.suffix != ".egg-info"]
    assert importable == ["microtome"]


def test_a_wheel_has_every_file_of_the_packages(wheel):
    """Tasks, suites and templates too: what is read at run time and is no module is easily left out."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    ours = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    names = {path.relative_to(ROOT).as_posix() for path in ours if "__pycache__" not in path.parts}
    missing = {name for name in names if f"microtome/{name}" not in packed}
    assert {"microtome/README.md", "microtome/py.typed"} <= packed
    assert missing == {"jobs/demo/report.png"}  # a picture for the page of the repository
