"""What `suite plan` says of the cost of a study."""

import dataclasses
from typing import Any

from rich.console import Console

from microtome.jobs.cli.tables import as_table
from microtome.jobs.suite.cost import Cost


def print_cost(cost: Cost, out: Console, price: float | None) -> None:
    """By kind and in all, what is to be done; nothing where no model is to be run."""
    if not cost.kinds:
        return
    if all(kind.unknown == kind.jobs for kind in cost.kinds):
        count = sum(kind.jobs for kind in cost.kinds)
        out.print(
            f"\nwhat the {count} jobs that run a model cost is not known: "
            "no tokenizer of theirs is here, or no data"
        )
        return
    rows = [
        {
            "to do": kind.kind,
            "jobs": kind.jobs,
            "million tokens": round(kind.tokens / 1e6, 3),
            "PFLOP": round(kind.flops / 1e15, 3),
            f"hours on {cost.gpu}": round(kind.hours, 3),
            "peak GPU GB": round(kind.memory / 1e9, 1),
            "disk GB": round(kind.disk / 1e9, 2),
            "not known": kind.unknown,
        }
        for kind in cost.kinds
    ]
    if not any(row["not known"] for row in rows):
        rows = [{column: row[column] for column in row if column != "not known"} for row in rows]
    out.print()
    out.print(as_table(rows))
    money = f", {cost.hours * price:,.2f} at {price:g} an hour" if price is not None else ""
    out.print(
        f"\n{cost.hours:.3g} GPU hours{money}; however many GPUs, at least {cost.longest_hours:.3g} hours. "
        f"{cost.disk / 1e9:.2f} GB to write (with object storage: to send)",
        soft_wrap=True,
    )
    origin = f"measured with {cost.measured} jobs that ran" if cost.measured else "nothing was measured yet"
    out.print(
        f"at {cost.utilisation:.0%} of the peak of {cost.gpu} ({origin}; --gpu and --utilisation set both). "
        "Analyses run on CPUs and are not counted",
        soft_wrap=True,
    )
    for sentence in cost.misfits:
        out.print(f"does not fit: {sentence}", soft_wrap=True)


def cost_values(cost: Cost, price: float | None) -> dict[str, Any]:
    """The same as values for JSON."""
    money = cost.hours * price if price is not None else None
    return {**dataclasses.asdict(cost), "hours": cost.hours, "disk": cost.disk, "price": money}
