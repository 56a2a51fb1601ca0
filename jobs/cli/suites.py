"""`suite plan`, `suite status` and `suite run`: the jobs of a study."""

import json
import os
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import click
from rich.console import Console

from microtome.jobs.cli.options import Number, console, format_option, overrides_option, stage_option
from microtome.jobs.cli.plan_cost import cost_values, print_cost
from microtome.jobs.cli.tables import as_table
from microtome.jobs.kinds import KINDS, kinds_of
from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.process.tracking import TRACKERS, track_with
from microtome.jobs.run.executor import Outcome, Runner, execute
from microtome.jobs.run.local_runner import LocalRunner
from microtome.jobs.run.order import expected_seconds
from microtome.jobs.run.progress import Screen
from microtome.jobs.run.remaining import RemainingTime
from microtome.jobs.run.resources import refuse_gpus
from microtome.jobs.suite.cost import plan_cost
from microtome.jobs.suite.cut_texts import cut_texts, worth_saying
from microtome.jobs.suite.disk import cache_bytes
from microtome.jobs.suite.gpus import GPUS
from microtome.jobs.suite.plan import Plan, make_plan, notes_by_text
from microtome.jobs.suite.suite import load_suite
from microtome.jobs.tasks import Recipe
from microtome.store.artifacts.job_logs import log_reference
from microtome.store.artifacts.store import Store
from microtome.store.errors import MissingError, model_packages, unknown

USUAL = ("learning_rate", "epochs", "batch_size", "max_length")  # of a recipe, always shown
ONLY = click.option(
    "--only", multiple=True, type=click.Choice(list(KINDS)), help="only jobs of this kind; may be repeated"
)


@click.command("plan")
@click.argument("suite")
@overrides_option
@click.option(
    "--gpu",
    "gpu_name",
    type=click.Choice(list(GPUS)),
    default="a100",
    show_default=True,
    help="that the jobs would run on",
)
@click.option("--price-per-hour", type=Number(0), help="of one such GPU, in any currency")
@click.option(
    "--utilisation",
    type=Number(0, 1, min_open=True),
    help="share of the GPU's peak that is reached; if unset, what jobs of SUITE reached that ran, else 0.3",
)
@format_option("json has every recipe whole and lists every job, with the bytes of every cache")
def suite_plan(
    suite: str,
    overrides: tuple[str, ...],
    gpu_name: str,
    price_per_hour: float | None,
    utilisation: float | None,
    form: str,
) -> None:
    """Show the jobs of SUITE by kind, how many are done, the recipe of each task, the disk that its caches
    take, what the jobs still cost on a GPU, and what is missing.

    Caches and costs are predicted by tokenising the texts; of models, configurations and tokenizers are read
    and no weights. What max_length cuts off is shown where it is more than 1 % of the words or of the
    entities. Nothing is run.
    """
    store, out = Store(), console()
    plan = make_plan(load_suite(suite, overrides), store)
    done, predicted = plan.done(store), cache_bytes(plan, store)
    cost = plan_cost(plan, store, done, predicted, gpu_name, GPUS[gpu_name], utilisation)
    if form == "json":
        rows = [
            {"kind": j.kind, "job": j.slug, "id": j.id, "done": j.id in done, "bytes": predicted.get(j.id)}
            for j in plan.jobs
        ]
        recipes = {name: plan.suite.task(name).recipe.model_dump() for name in plan.suite.tasks}
        listed = {"suite": plan.suite.name, "recipes": recipes, "jobs": rows}
        listed["notes"] = [{"note": note, "models": models} for note, models in notes_by_text(plan).items()]
        listed["cut_texts"] = [texts.row() for texts in cut_texts(plan, store)]
        listed["cost"] = cost_values(cost, price_per_hour)
        click.echo(json.dumps(listed, indent=1, allow_nan=False))
        return
    _print_counts(plan, done, out)
    _print_recipes(plan, out)
    _print_cut_texts(plan, store, out)
    _print_caches(plan, done, predicted, out)
    for note, models in notes_by_text(plan).items():
        out.print(f"{', '.join(models)}: {note}", soft_wrap=True)
    print_cost(cost, out, price_per_hour)
    _print_missing(plan, out)


@click.command("status")
@click.argument("suite")
@overrides_option
def suite_status(suite: str, overrides: tuple[str, ...]) -> None:
    """Show which jobs of SUITE are done and which are not."""
    store, out = Store(), console()
    plan = make_plan(load_suite(suite, overrides), store)
    done = plan.done(store)
    blocked = plan.blocked(done)
    rows = []
    for job in plan.jobs:
        state = "done" if job.id in done else "blocked" if job.id in blocked else "to do"
        rows.append({"kind": job.kind, "job": job.slug, "id": job.id[:8], "state": state})
    out.print(as_table(rows))
    _print_counts(plan, done, out)


@click.command("run")
@click.argument("suite")
@ONLY
@stage_option
@overrides_option
@click.option("--local", is_flag=True, help="in this process, one job at a time, without Ray")
@click.option(
    "--address", help="of a running Ray cluster, else RAY_ADDRESS; else a Ray that only this run can reach"
)
@click.option(
    "--gpus-per-job",
    type=Number(0, 8),
    help="below 1, jobs share a GPU; more than one is for jobs with device_map: auto, or processes. Given, "
    "jobs wait for it; else 1, or one for each process, if there is any",
)
@click.option("--cpus-per-job", type=click.IntRange(1), default=1, show_default=True, help="of a Ray task")
@click.option(
    "--tasks-per-extraction",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Ray tasks that compute the parts of one extraction together",
)
@click.option(
    "--track",
    type=click.Choice(list(TRACKERS)),
    help="report trainings to it as well, with the Trainer's own reporting; tensorboard writes into ./runs",
)
def suite_run(
    suite: str,
    only: tuple[str, ...],
    stages: tuple[str, ...],
    overrides: tuple[str, ...],
    local: bool,
    address: str | None,
    gpus_per_job: float | None,
    cpus_per_job: int,
    tasks_per_extraction: int,
    track: str | None,
) -> None:
    """Run the jobs of SUITE that are not done. Run it again after anything: nothing is done twice.

    The nodes of a Ray cluster at --address report to the same tracker; its package has to be on them.
    """
    if track is not None:
        track_with(track)
    store, out = _store_of_run(), console()
    plan = make_plan(load_suite(suite, overrides), store)
    done = plan.done(store)
    _refuse_kinds_without_jobs(plan, only)
    kinds = (*only, *kinds_of(stages))
    wanted = plan.wanted(kinds)
    jobs = [job for job in wanted if job.id not in done]
    if not jobs:
        click.echo(f"nothing to do: all {len(wanted)} jobs of '{plan.suite.name}' are done")
        return
    blocked = plan.blocked(done, kinds, " --local" if local else f" --address {address}" if address else "")
    click.echo(f"{plan.suite.name}: {len(jobs)} jobs to do, {len(wanted) - len(jobs)} done before")
    if all(job.id in blocked for job in jobs):
        _print_missing(plan, out)
        raise MissingError(f"none of these jobs can run: {blocked[jobs[0].id]}")
    refuse_gpus(gpus_per_job, [job.config for job in jobs])
    store.check_writable()
    store.remember(plan.identities)
    runner: Runner
    if local:
        runner = LocalRunner(store.reference)
    else:
        with model_packages("running without --local"):
            from microtome.jobs.run.ray_executor import RayRunner

        out.print(f"waiting for Ray {'at ' + address if address else 'on this machine'} ...")
        runner = RayRunner(
            store.reference,
            address=address,
            gpus_per_job=gpus_per_job,
            cpus_per_job=cpus_per_job,
            tasks_per_extraction=tasks_per_extraction,
        )
    try:
        expected = expected_seconds(plan.jobs, store)
        runnable = [job for job in jobs if job.id not in blocked]
        with Screen(out, store, len(jobs), RemainingTime(runnable, expected)) as watcher:
            outcome = execute(jobs, done, blocked, runner, watcher, expected)
    finally:
        runner.close()
    _print_outcome(plan, outcome, store, out)
    if not outcome.ok:
        sys.exit(1)


def _store_of_run() -> Store:
    """The default store; one in a folder by the path that it has on every node."""
    store = Store()
    return store if store.remote is not None else Store(os.path.realpath(store.root))


def _print_counts(plan: Plan, done: set[str], out: Console) -> None:
    blocked = plan.blocked(done)
    total = Counter(job.kind for job in plan.jobs)
    finished = Counter(job.kind for job in plan.jobs if job.id in done)
    stuck = Counter(job.kind for job in plan.jobs if job.id in blocked)
    rows = [
        {"kind": kind, "jobs": total[kind], "done": finished[kind], "blocked": stuck[kind]} for kind in total
    ]
    out.print(f"{plan.suite.name}: {plan.suite.description}\n", soft_wrap=True)
    out.print(as_table(rows))


def _print_recipes(plan: Plan, out: Console) -> None:
    """What each task is fine-tuned by, in the end: the usual columns, and those where a task differs from the
    default."""
    recipes = {name: plan.suite.task(name).recipe for name in plan.suite.tasks}
    shown = [
        key
        for key, field in Recipe.model_fields.items()
        if key in USUAL or any(getattr(recipe, key) != field.default for recipe in recipes.values())
    ]
    rows = [
        {"recipe of": name, **{key: _brief(getattr(recipe, key)) for key in shown}}
        for name, recipe in recipes.items()
    ]
    out.print()
    out.print(as_table(rows))


def _print_cut_texts(plan: Plan, store: Store, out: Console) -> None:
    """The splits of which more than a hundredth is beyond the maximal length."""
    rows = [
        {
            "cut texts of": texts.task,
            "model": texts.model,
            "split": texts.split,
            "max_length": texts.max_length,
            "words lost": f"{texts.cut.share:.1%}",
            "entities lost": f"{texts.cut.entity_share:.1%}" if texts.cut.entities else "",
        }
        for texts in worth_saying(cut_texts(plan, store))
    ]
    if rows:
        out.print()
        out.print(as_table(rows))
        out.print(
            "\nwhat is lost is never seen and counts as missed; raise max_length, or set stride where a task "
            "has one text",
            soft_wrap=True,
        )


def _brief(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)


def _refuse_kinds_without_jobs(plan: Plan, kinds: Collection[str]) -> None:
    planned = {job.kind for job in plan.jobs}
    for kind in kinds:
        if kind not in planned:
            raise unknown(f"kind of jobs in suite '{plan.suite.name}'", kind, sorted(planned))


def _print_caches(plan: Plan, done: set[str], predicted: Mapping[str, int | None], out: Console) -> None:
    """The disk that the caches take, by task, split and what is kept."""
    groups: dict[tuple[str, str, str], list[AnyJob]] = {}
    for job in plan.jobs:
        if job.id in predicted:
            key = str(job.labels["task"]), job.config.split, job.config.extract.kept
            groups.setdefault(key, []).append(job)
    rows = []
    for (task, split, keep), jobs in groups.items():
        sizes = [predicted[job.id] for job in jobs]
        known = [size for size in sizes if size is not None]
        rows.append(
            {
                "caches of": task,
                "split": split,
                "kept": keep,
                "caches": len(jobs),
                "done": sum(job.id in done for job in jobs),
                "largest MB": round(max(known) / 1e6, 1) if known else None,
                "all MB": round(sum(known) / 1e6, 1) if known else None,
                "not known": len(sizes) - len(known),
            }
        )
    if rows:
        if not any(row["not known"] for row in rows):
            rows = [{column: row[column] for column in row if column != "not known"} for row in rows]
        out.print()
        out.print(as_table(rows))
        total = sum(size or 0 for size in predicted.values())
        still = sum(predicted[id] or 0 for id in predicted if id not in done)
        out.print(f"\n{total / 1e9:.2f} GB of caches, {still / 1e9:.2f} GB of them still to be made")
        if None in predicted.values():
            needs = "the model, the data, and what pip install 'microtome[models]' brings"
            out.print(f"what is not known is predicted by tokenising, which takes {needs}", soft_wrap=True)


def _print_missing(plan: Plan, out: Console) -> None:
    if plan.missing:
        rows = [
            {"missing": m.what, "name": m.name, "why": m.why, "how to get it": m.how} for m in plan.missing
        ]
        out.print("\nmissing on this machine; the jobs that need it are blocked\n")
        out.print(as_table(rows))


def _print_lost_time(outcome: Outcome, store: Store, out: Console) -> None:
    """What was lost with attempts that were stopped, of the jobs that are done now."""
    made = [store.find(job.request) for job in outcome.done]
    resumed = [artifact.provenance for artifact in made if artifact and "attempts" in artifact.provenance]
    if resumed:
        lost = sum(provenance["seconds_lost"] for provenance in resumed)
        out.print(
            f"{len(resumed)} of them went on from what earlier attempts had saved; {lost:.0f} s were lost"
        )


def _print_outcome(plan: Plan, outcome: Outcome, store: Store, out: Console) -> None:
    out.print(f"{len(outcome.done)} done, {len(outcome.failed)} failed, {len(outcome.skipped)} skipped")
    _print_lost_time(outcome, store, out)
    if outcome.failed:
        rows = [
            {"failed": job.name, "why": reason, "log": log_reference(store, job.request)}
            for job, reason in outcome.failed
        ]
        out.print("\nfailed")
        out.print(as_table(rows))
    if outcome.skipped:
        counts = Counter((job.kind, reason) for job, reason in outcome.skipped)
        rows = [{"skipped": f"{n} {kind}", "why": reason} for (kind, reason), n in counts.items()]
        out.print("\nskipped")
        out.print(as_table(rows))
