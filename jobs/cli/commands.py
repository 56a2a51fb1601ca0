"""Every command of `microtome`: where it is, and its line of help. It is imported when it is called.

A test holds the lines equal to the commands' own.
"""

import click

from microtome.jobs.cli.lazy_group import LazyGroup
from microtome.store.lazy import LazyImport, LazyTable

_CLI = "microtome.jobs.cli"

COMMANDS: LazyTable[click.Command] = LazyTable(
    {
        "suite": LazyImport(
            f"{_CLI}.commands:suite_group",
            "Plan, run and watch the jobs of a study.",
        ),
        "finetune": LazyImport(
            f"{_CLI}.checkpoints:finetune_command",
            "Fine-tune a model on a task; scores dev and test.",
        ),
        "adapt": LazyImport(
            f"{_CLI}.checkpoints:adapt_command",
            "Train a language model on a corpus; the result is a checkpoint that goes wherever a model goes.",
        ),
        "extract": LazyImport(
            f"{_CLI}.checkpoints:extract_command",
            "Cache a checkpoint's hidden states and attentions on a split.",
        ),
        "predict": LazyImport(
            f"{_CLI}.checkpoints:predict_command",
            "Ask a fine-tuned model about new texts; JSON Lines come out.",
        ),
        "generate": LazyImport(
            f"{_CLI}.generation:generate_command",
            "Let a causal language model write; JSON Lines come out.",
        ),
        "probe": LazyImport(
            f"{_CLI}.analyses:probe_command",
            "Ask every layer of a cache what it knows of the task's labels.",
        ),
        "attention": LazyImport(
            f"{_CLI}.analyses:attention_command",
            "Compare the attentions of two checkpoints, head by head, on the same tokens.",
        ),
        "similarity": LazyImport(
            f"{_CLI}.analyses:similarity_command",
            "Compare hidden states layer with layer, within each of two checkpoints and across them.",
        ),
        "results": LazyImport(
            f"{_CLI}.results:results_command",
            "Print what the jobs of SUITE measured so far, one number per row.",
        ),
        "report": LazyImport(
            f"{_CLI}.report:report_command",
            "Write the results of SUITE so far as one self-contained HTML page.",
        ),
        "export": LazyImport(
            f"{_CLI}.publishing:export_command",
            "Write a checkpoint as a plain Hugging Face folder with a model card.",
        ),
        "push": LazyImport(
            f"{_CLI}.publishing:push_command",
            "Upload a checkpoint to the Hugging Face hub, as `microtome export` writes it.",
        ),
        "schema": LazyImport(
            f"{_CLI}.schema:schema_command",
            "Print what a task or suite file may hold.",
        ),
        "task": LazyImport(
            f"{_CLI}.commands:task_group",
            "Datasets and what is asked of them.",
        ),
        "model": LazyImport(
            f"{_CLI}.commands:model_group",
            "Models by short name; any hub id or local folder works as well.",
        ),
        "cache": LazyImport(
            f"{_CLI}.commands:cache_group",
            "Look at and remove what is in the store.",
        ),
        "store": LazyImport(
            f"{_CLI}.commands:store_group",
            "Check the store as a whole, send it to object storage, fetch from there.",
        ),
    }
)

SUITE: LazyTable[click.Command] = LazyTable(
    {
        "ls": LazyImport(
            f"{_CLI}.suite_list:suite_ls",
            "List the suites that come with microtome.",
        ),
        "kinds": LazyImport(
            f"{_CLI}.suite_kinds:suite_kinds",
            "List the kinds of job that a suite may have, in the order in which they are planned.",
        ),
        "init": LazyImport(
            f"{_CLI}.drafts:suite_init",
            "Write a small suite that runs as it is, and say what it would take, as `suite plan` does.",
        ),
        "show": LazyImport(
            f"{_CLI}.suite_show:suite_show",
            "Show every setting of SUITE and where it is said: in the suite, in a task file, or with --set.",
        ),
        "plan": LazyImport(
            f"{_CLI}.suites:suite_plan",
            "Show the jobs of SUITE by kind, how many are done, the recipe of each task, the "
            "disk that its caches take, what the jobs still cost on a GPU, and what is missing.",
        ),
        "run": LazyImport(
            f"{_CLI}.suites:suite_run",
            "Run the jobs of SUITE that are not done.",
        ),
        "status": LazyImport(
            f"{_CLI}.suites:suite_status",
            "Show which jobs of SUITE are done and which are not.",
        ),
    }
)

TASK: LazyTable[click.Command] = LazyTable(
    {
        "ls": LazyImport(
            f"{_CLI}.tasks:task_ls",
            "List the tasks, and where their data was found.",
        ),
        "show": LazyImport(
            f"{_CLI}.tasks:task_show",
            "Recipe, licence, published scores, and how to obtain the data of a task NAME or file.",
        ),
        "init": LazyImport(
            f"{_CLI}.drafts:task_init",
            "Look at the FILES of a corpus and write a task file for them.",
        ),
        "check": LazyImport(
            f"{_CLI}.task_check:task_check",
            "Read all splits of a task NAME or file: counts, labels, lengths, and rows that "
            "are not held out.",
        ),
    }
)

MODEL: LazyTable[click.Command] = LazyTable(
    {
        "ls": LazyImport(
            f"{_CLI}.models:model_ls",
            "List the short names, and where each model was found.",
        ),
        "show": LazyImport(
            f"{_CLI}.models:model_show",
            "Layers, heads, width, positions and what can be kept of a model, from its config.json alone.",
        ),
        "fetch": LazyImport(
            f"{_CLI}.models:model_fetch",
            "Put a model into a folder, with safetensors weights.",
        ),
    }
)

CACHE: LazyTable[click.Command] = LazyTable(
    {
        "ls": LazyImport(
            f"{_CLI}.cache:cache_ls",
            "List the artifacts with their sizes and what they were made from.",
        ),
        "show": LazyImport(
            f"{_CLI}.cache:cache_show",
            "Print the manifest of an artifact: id, name or folder.",
        ),
        "rm": LazyImport(
            f"{_CLI}.cache:cache_rm",
            "Remove artifacts of the store: ids, names or folders; also damaged ones.",
        ),
        "gc": LazyImport(
            f"{_CLI}.cache_gc:cache_gc",
            "Remove what nothing can use: the leftovers of jobs that died, and artifacts "
            "that are damaged or half removed.",
        ),
    }
)

STORE: LazyTable[click.Command] = LazyTable(
    {
        "push": LazyImport(
            f"{_CLI}.remote:store_push",
            "Send artifacts to object storage; all that are here if none is named.",
        ),
        "pull": LazyImport(
            f"{_CLI}.remote:store_pull",
            "Fetch artifacts from object storage into the local store; all that are there if none is named.",
        ),
        "sync": LazyImport(
            f"{_CLI}.remote:store_sync",
            "Send what is only here, and fetch what is only on object storage.",
        ),
        "status": LazyImport(
            f"{_CLI}.remote:store_status",
            "Show what is only here, only on object storage, and in both places.",
        ),
        "verify": LazyImport(
            f"{_CLI}.store:store_verify",
            "Compare every file of artifacts with its checksum; the whole store if no artifact is named.",
        ),
    }
)


@click.group("suite", cls=LazyGroup, commands=SUITE)
def suite_group() -> None:
    """Plan, run and watch the jobs of a study. SUITE is a name (see: suite ls) or a file."""


@click.group("task", cls=LazyGroup, commands=TASK)
def task_group() -> None:
    """Datasets and what is asked of them."""


@click.group("model", cls=LazyGroup, commands=MODEL)
def model_group() -> None:
    """Models by short name; any hub id or local folder works as well."""


@click.group("cache", cls=LazyGroup, commands=CACHE)
def cache_group() -> None:
    """Look at and remove what is in the store."""


@click.group("store", cls=LazyGroup, commands=STORE)
def store_group() -> None:
    """Check the store as a whole, send it to object storage, fetch from there."""
