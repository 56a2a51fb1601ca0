import pytest
from click.testing import CliRunner

from microtome.jobs.cli.publishing import export_command, push_command
from microtome.store.errors import InputError


@pytest.fixture
def checkpoint(tmp_path, small_tasks, tiny_models):
    """The id of a fine-tuned model of an open task."""
    from microtome.jobs.kinds.finetune import finetune_job
    from microtome.jobs.models.source import find_model
    from microtome.jobs.run.executor import run_job
    from microtome.jobs.tasks import load_task
    from microtome.jobs.tasks.source import find_data
    from microtome.store.artifacts.store import Store

    task = load_task(str(small_tasks["ner"])).model_copy(update={"name": "demo-ner"})
    model = find_model(str(tiny_models / "bert"), Store())
    job = finetune_job(task, find_data(task), model, 0, 1, task.recipe)
    error, _ = run_job(job, Store().root)
    assert error is None
    return job.id


def call(command, *arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def refusal(command, *arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert isinstance(result.exception, InputError)
    return str(result.exception)


def test_export_writes_the_folder_and_says_where(checkpoint, tmp_path):
    out = tmp_path / "out"
    said = call(export_command, "--checkpoint", checkpoint[:8], "--out", out, "--license", "mit").stdout
    assert said == f"wrote {out}\n"
    assert "license: mit" in (out / "README.md").read_text()
    assert "is not empty" in refusal(export_command, "--checkpoint", checkpoint, "--out", out)
    assert "--adapter" in refusal(
        export_command, "--checkpoint", checkpoint, "--out", tmp_path / "other", "--adapter"
    )


def test_push_shows_files_and_card_and_uploads_nothing(checkpoint):
    said = call(push_command, "--checkpoint", checkpoint, "--repo", "me/mine", "--public").stdout
    assert said.startswith("would go to me/mine (public):\n")
    assert "  model.safetensors\n" in said
    assert "pipeline_tag: token-classification" in said
    assert said.endswith("nothing was uploaded; add --yes to do it\n")


def test_push_uploads_with_yes_and_never_shows_the_token(checkpoint, monkeypatch):
    uploaded = []

    def upload(folder, repo, *, private, message):
        uploaded.append((repo, private, sorted(path.name for path in folder.iterdir())))
        return f"https://huggingface.co/{repo}"

    monkeypatch.setattr("microtome.jobs.publishing.publish.upload_folder", upload)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    result = call(push_command, "--checkpoint", checkpoint, "--repo", "me/mine", "--yes")
    [(repo, private, files)] = uploaded
    assert (repo, private) == ("me/mine", True)
    assert result.stdout == f"pushed {len(files)} files: https://huggingface.co/me/mine\n"
    assert "hf_secret" not in result.output


def test_a_push_that_was_forced_repeats_why_it_should_not_be(checkpoint, monkeypatch):
    monkeypatch.setattr(
        "microtome.jobs.publishing.publish.reasons_to_withhold", lambda chain: ["the data is somebody's"]
    )
    asked = ("--checkpoint", checkpoint, "--repo", "me/mine")
    assert "not pushed: the data is somebody's" in refusal(push_command, *asked)
    assert call(push_command, *asked, "--force").stderr == "warning: the data is somebody's\n"
