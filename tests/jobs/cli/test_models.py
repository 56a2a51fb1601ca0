from click.testing import CliRunner

from microtome.jobs.cli import main

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def listed(name):
    result = CliRunner().invoke(main, ["model", "ls"])
    assert result.exit_code == 0, result.output
    return next(line for line in result.output.splitlines() if line.startswith(f"{name} "))


def test_models_are_found_in_a_folder_and_in_the_cache_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("MICROTOME_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert "not here" in listed("bert")
    assert "not here" in listed("biogpt")
    (tmp_path / "models" / "bert").mkdir(parents=True)
    (tmp_path / "models" / "bert" / "config.json").write_text("{}")  # whatever is in it is not read
    assert str(tmp_path / "models" / "bert")[:40] in listed("bert")
    cached = tmp_path / "hub" / "models--microsoft--biogpt"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    assert "not here" in listed("biogpt")
    (cached / "snapshots" / COMMIT).mkdir(parents=True)
    (cached / "snapshots" / COMMIT / "config.json").write_text("{}")
    assert "not here" in listed("biogpt")  # it was only planned
    (cached / "snapshots" / COMMIT / "model.safetensors").touch()
    assert f"commit {COMMIT[:8]}" in listed("biogpt")
