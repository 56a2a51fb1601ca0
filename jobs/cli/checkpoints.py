"""`finetune`, `adapt`, `extract` and `predict`: what loads a model, by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import click

from microtome.jobs.cli.options import UserPath, console, given, lines_to, options_of
from microtome.jobs.cli.running import run_by_hand, show
from microtome.jobs.data.corpora import CorpusSpec
from microtome.jobs.kinds.adapt import AdaptConfig, NewModel, adapt_job
from microtome.jobs.kinds.checkpoints import FinetunedCheckpoint
from microtome.jobs.kinds.extract import extract_job
from microtome.jobs.kinds.extraction.settings import ExtractConfig
from microtome.jobs.kinds.finetune import finetune_job
from microtome.jobs.models.lora import Lora
from microtome.jobs.models.placement import ABOUT_DEVICE_MAP, DeviceMap
from microtome.jobs.models.source import CHECKPOINT, find_model
from microtome.jobs.tasks import Recipe, load_task
from microtome.jobs.tasks.source import find_data
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.cache.description import CacheDescription
from microtome.store.errors import InputError


@click.command("finetune")
@click.option("--task", required=True, help="task name, or a task file")
@click.option("--model", required=True, help="short name, hub id, folder, or a checkpoint in the store")
@click.option("--fraction", type=float, default=100, show_default=True, help="per cent of the training data")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="of the head, the data's order, the subset"
)
@options_of(Recipe)
def finetune_command(task: str, model: str, fraction: float, seed: int, **options: Any) -> None:
    """Fine-tune a model on a task; scores dev and test.

    The recipe is the task's own (see: microtome task show TASK) except for what is given here.
    """
    store = Store()
    spec = load_task(task)
    changed = {k: v for k, v in options.items() if v not in (None, ())}
    recipe = Recipe.parse(spec.recipe.model_dump() | changed, where="options")
    job = finetune_job(spec, find_data(spec, store.digests), find_model(model, store), fraction, seed, recipe)
    show(run_by_hand(job, store, console()), console())


@click.command("adapt")
@click.option("--name", required=True, help="what the model is called in tables")
@click.option("--base", help="model to start from: short name, hub id, folder, or a checkpoint in the store")
@options_of(AdaptConfig, without=("base", "new", "lora", "corpus"))
@options_of(CorpusSpec, prefix="corpus_")
@click.option("--lora", is_flag=True, help="train a low-rank adapter in place of all weights")
@options_of(Lora, prefix="lora_")
@options_of(NewModel, prefix="new_")
def adapt_command(name: str, base: str | None, lora: bool, **options: Any) -> None:
    """Train a language model on a corpus; the result is a checkpoint that goes wherever a model goes.

    \b
    microtome adapt --name trials --base biobert --objective mlm --lora --lora-rank 1 --lora-alpha 1 \\
      --corpus-format csv --corpus-path ctg-studies.csv --corpus-column "Brief Summary"
    microtome adapt --name small --new-architecture gpt2 --objective clm \\
      --corpus-format text --corpus-path texts/

    Some documents are held out by seed and scored before, on the way and after: loss in nats per token,
    perplexity, and the share of tokens predicted right (masked ones only for mlm, the same masks each time).
    """
    store = Store()
    parts: dict[str, Any] = {"corpus": given(CorpusSpec, options, prefix="corpus_")}
    if lora or any(options[f"lora_{field}"] not in (None, ()) for field in Lora.model_fields):
        parts["lora"] = given(Lora, options, prefix="lora_")
    if options["new_architecture"] is not None:
        parts["new"] = given(NewModel, options, prefix="new_")
    config = given(AdaptConfig, options, **parts)
    start = find_model(base, store) if base else None
    job = adapt_job(name, config, start, digests=store.digests)
    show(run_by_hand(job, store, console()), console())


@click.command("extract")
@click.option("--checkpoint", required=True, help="id or name of a checkpoint in the store, or any model")
@click.option("--task", required=True, help="task name, or a task file")
@click.option(
    "--split",
    type=click.Choice(["train", "dev", "test"]),
    default="test",
    show_default=True,
    help="of the task",
)
@options_of(ExtractConfig)
def extract_command(checkpoint: str, task: str, split: str, **options: Any) -> None:
    """Cache a checkpoint's hidden states and attentions on a split.

    By default every layer's hidden states and attentions are kept; give --keep and the layer options
    several times to choose.
    """
    store = Store()
    spec = load_task(task)
    source = find_model(checkpoint, store)
    labels = dict(store.open(source.artifact).labels) if source.artifact else {"model": source.name}
    config = given(ExtractConfig, options)
    job = extract_job(spec, find_data(spec, store.digests), source, split, config, labels)
    artifact = run_by_hand(job, store, console())
    show(artifact, console())
    _note_other_form(artifact, options)


def _note_other_form(artifact: Artifact, options: Mapping[str, Any]) -> None:
    """A line where the cache lies on disk in another form than was asked for: it was made, or begun, before.
    Readers see no difference."""
    description = CacheDescription.of(artifact)
    for name, written in (("format", description.format), ("compression", description.compression)):
        requested = options.get(name)
        if requested not in (None, written):
            click.echo(
                f"note: {name} of its parts is {written}; for {requested}, remove it first: "
                f"microtome cache rm {artifact.id[:8]}"
            )


@click.command("predict")
@click.option("--checkpoint", required=True, help="id or name of a fine-tuned model in the store")
@click.option("--input", "source", required=True, type=UserPath(), help="texts; or with --task, a data file")
@click.option("--task", help="read the input as the data files of this task are read")
@click.option("--device-map", type=click.Choice(get_args(DeviceMap)), default="one", help=ABOUT_DEVICE_MAP)
@click.option("--out", type=UserPath(dir_okay=False), help="file to write; the screen if unset")
def predict_command(
    checkpoint: str, source: str, task: str | None, device_map: DeviceMap, out: str | None
) -> None:
    """Ask a fine-tuned model about new texts; JSON Lines come out.

    Plain text has one example per line, the two texts of a pair parted by a tab. JSON Lines (.jsonl) have
    `text`, or `text_a` and `text_b`, and may have `id`. Mentions of a relation are marked as in the task's
    own data, for example @GENE$. With --task, the labels that a data file has are not looked at, and may be
    absent. Entities come with character offsets into the text.
    """
    from microtome.jobs.predict import predict, read_task_file, read_texts

    artifact = Store().open(checkpoint)
    if artifact.kind != "finetune":
        raise InputError(f"{artifact.name} is no fine-tuned model. See: microtome cache ls --kind finetune")
    model = FinetunedCheckpoint.of(artifact)
    texts: list[str] | None = None
    if task is not None:
        examples = read_task_file(Path(source), load_task(task).data)
    else:
        examples, texts = read_texts(Path(source), model.kind, model.labels)
    with lines_to(out) as write:
        for row in predict(artifact, artifact.contents.path(CHECKPOINT), examples, texts, device_map):
            write(row)
