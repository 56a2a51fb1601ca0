"""The files in docker/: every field is one that its tool knows, and each does what its page says."""

import re
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from microtome.jobs.cli import main
from microtome.jobs.kinds import STAGES
from microtome.jobs.suite.include import suite_names

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
# Fields of a task and of its resources, as SkyPilot's reference of its YAML lists them.
SKYPILOT = set("name workdir num_nodes resources envs secrets file_mounts volumes setup run config".split())
SKYPILOT_RESOURCES = set(
    "infra accelerators accelerator_args cpus memory instance_type use_spot disk_size disk_tier network_tier "
    "max_hourly_cost image_id ports labels autostop any_of ordered job_recovery".split()
)
# Fields of the custom resource of KubeRay 1.5.1 that are used, by where they stand.
RAYJOB = set(
    "submissionMode entrypoint backoffLimit shutdownAfterJobFinishes ttlSecondsAfterFinished "
    "rayClusterSpec".split()
)
RAYCLUSTER = set("rayVersion enableInTreeAutoscaling authOptions headGroupSpec workerGroupSpecs".split())
HEAD = {"serviceType", "rayStartParams", "template"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
COMPOSE = set("user environment volumes shm_size init stop_grace_period image build command deploy".split())


def load(name):
    return yaml.safe_load((DOCKER / name).read_text())


@pytest.fixture
def rayjob():
    return load("kuberay.yaml")


@pytest.fixture
def rayjob_pods(rayjob):
    cluster = rayjob["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"]["template"], *(w["template"] for w in cluster["workerGroupSpecs"])]


def pinned(package):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))


def test_the_compose_file_has_two_services_that_run_as_the_user():
    values = load("compose.yaml")
    assert {key for key in values if not key.startswith("x-")} == {"name", "services", "volumes"}
    for service in values["services"].values():
        assert set(service) <= COMPOSE
        assert service["user"] == "${UID:-1000}:${GID:-1000}"
        assert "ports" not in service
        folders = [volume.rpartition(":/")[2].removesuffix(":ro") for volume in service["volumes"]]
        assert [f"/{folder}" for folder in folders] == ["/store", "/data", "/models", "/hub", "/scratch"]
        named = {volume.partition(":")[0] for volume in service["volumes"] if volume[0].isalpha()}
        assert named == set(values["volumes"])
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    [device] = values["services"]["gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_the_skypilot_task_has_fields_of_skypilot_and_opens_no_port():
    task = load("skypilot.yaml")
    assert set(task) <= SKYPILOT
    assert set(task["resources"]) <= SKYPILOT_RESOURCES - {"ports"}
    assert task["secrets"]["RAY_AUTH_TOKEN"] is None  # must be given
    assert "export RAY_AUTH_MODE=token" in task["run"]
    commands = [line.partition("#")[0] for line in task["run"].splitlines()]
    assert not any(
        "ray stop" in line or "symmetric-run" in line for line in commands
    )  # SkyPilot has a Ray too
    subprocess.run(["bash", "-n"], input=task["setup"] + task["run"], text=True, check=True)


def test_the_rayjob_has_fields_of_kuberay_and_asks_for_a_token(rayjob):
    assert (rayjob["apiVersion"], rayjob["kind"]) == ("ray.io/v1", "RayJob")
    assert set(rayjob["spec"]) == RAYJOB
    cluster = rayjob["spec"]["rayClusterSpec"]
    assert set(cluster) == RAYCLUSTER
    assert set(cluster["headGroupSpec"]) == HEAD
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    for workers in cluster["workerGroupSpecs"]:
        assert set(workers) == WORKERS
        assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


def test_the_rayjob_has_the_ray_of_the_image(rayjob):
    assert rayjob["spec"]["rayClusterSpec"]["rayVersion"] == pinned("ray")


def test_the_pods_of_the_rayjob_fit_the_schema_of_kubernetes(rayjob_pods):
    validate = pytest.importorskip("kubernetes_validate")
    for template in rayjob_pods:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template}
        validate.validate(pod, validate.latest_version(), strict=True)


def test_every_pod_mounts_what_it_declares_and_runs_as_a_user(rayjob_pods):
    for template in rayjob_pods:
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        [container] = spec["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}
        assert container["resources"]["requests"] == container["resources"]["limits"]


def commands():
    """Every `microtome ...` that a file or the page of docker/ runs, in one line each."""
    for path in sorted(DOCKER.iterdir()):
        text = path.read_text().replace("\\\n", " ")
        for match in re.finditer(r"(?<![\w/.-])microtome ((?:suite|store|results|report) [^\n`#|)]*)", text):
            yield path.name, match[1]


@pytest.mark.parametrize(("file", "command"), sorted(set(commands())))
def test_every_command_that_a_file_runs_exists_with_its_options(file, command):
    words = command.split()
    group = main.get_command(click.Context(main), words[0])
    target, words = (group, words[1:])
    if isinstance(group, click.Group):
        target, words = group.get_command(click.Context(group), words[0]), words[1:]
    assert target is not None, command
    options = {name for parameter in target.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    assert {words[i + 1] for i, word in enumerate(words) if word == "--stage"} <= set(STAGES)


def test_every_target_of_make_that_a_file_names_exists():
    help_text = subprocess.run(["make", "-n", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert help_text.stdout
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", makefile, re.MULTILINE))
    for path in DOCKER.iterdir():
        for match in re.finditer(r"(?<![\w-])make ((?:[a-z]+(?:-[a-z]+)* ?)+)", path.read_text()):
            named = [word for word in match[1].split() if word.endswith(("-all", "demo", "report", "setup"))]
            assert set(named) <= targets, path.name


def test_the_suite_that_the_files_run_by_default_is_shipped():
    assert load("skypilot.yaml")["envs"]["SUITE"] in suite_names()
    assert "suite run paper " in load("kuberay.yaml")["spec"]["entrypoint"]


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_an_image_installs_packages_before_code_and_runs_as_a_user(name):
    lines = (DOCKER / f"{name}.Dockerfile").read_text().splitlines()
    assert lines[0].startswith("#")
    at = {line.split("\\")[0].strip(): number for number, line in enumerate(lines)}
    installed = next(n for line, n in at.items() if "requirements.txt" in line and line.startswith("pip"))
    assert installed < at["COPY store store"] < at["ARG COMMIT="] < at["USER 1000:1000"]
    assert at["ARG BASE=python:3.11-slim"] < at["FROM ${BASE}"]
    assert any("org.opencontainers.image.revision" in line for line in lines)
    for source in re.findall(r"^COPY (.*) \S+$", "\n".join(lines), re.MULTILINE):
        assert all((ROOT / path).exists() for path in source.split())


def test_what_an_image_says_by_itself_fits_a_screen():
    text = (DOCKER / "welcome.txt").read_text().splitlines()
    assert 8 <= len(text) <= 12
    assert max(map(len, text)) <= 115


def test_the_packages_of_an_image_are_those_of_the_project(tmp_path):
    for source in (DOCKER / "requirements.py", ROOT / "pyproject.toml"):
        (tmp_path / source.name).write_text(source.read_text())
    run = ["python3", "requirements.py", "models", "cluster"]
    lines = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"numpy>=2.0", "torch>=2.8", "ray[default]>=2.50"} <= set(lines)
    assert "pytest>=8.4" not in lines
