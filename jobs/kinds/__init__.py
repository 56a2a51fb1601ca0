"""The kinds of job: one file each, and one line here.

A kind's file holds its settings, its sources, what a suite may say of it, how that becomes jobs, the function
that runs one, and `KIND`, which declares all this. The file is imported when its kind is needed.
"""

import importlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microtome.jobs.kinds.kind import Kind

# In the order in which a suite is planned: a kind comes after those whose artifacts it reads.
KINDS = {
    "adapt": "microtome.jobs.kinds.adapt",
    "randomise": "microtome.jobs.kinds.randomise",
    "finetune": "microtome.jobs.kinds.finetune",
    "extract": "microtome.jobs.kinds.extract",
    "probe": "microtome.jobs.kinds.probe",
    "attention": "microtome.jobs.kinds.attention",
    "similarity": "microtome.jobs.kinds.similarity",
    "generate": "microtome.jobs.kinds.generate",
    "answer": "microtome.jobs.kinds.answer",
}
# What a kind is for; the targets of the Makefile are these.
STAGES = ("training", "generation", "extraction", "analysis")


def kind_named(name: str) -> "Kind[Any, Any]":
    """The declaration of a kind."""
    return importlib.import_module(KINDS[name]).KIND


def all_kinds() -> "list[Kind[Any, Any]]":
    """The declarations of all kinds, in the order in which a suite is planned."""
    return [kind_named(name) for name in KINDS]


def kinds_of(stages: Collection[str]) -> tuple[str, ...]:
    """The names of the kinds of some stages."""
    return tuple(kind.name for kind in all_kinds() if kind.stage in stages) if stages else ()
