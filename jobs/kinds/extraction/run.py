"""Runs extractions: tokenises everything, then writes the parts of the caches that are not there yet.

Caches of the same examples, of which different things are kept, come of one pass.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from microtome.jobs.kinds.extraction.backbone import LoadedBackbone
from microtome.jobs.kinds.extraction.parts import WrittenWider, compute_parts, dtype_on_disk, pinned_memory
from microtome.jobs.kinds.extraction.prepared import Prepared, prepare_all
from microtome.jobs.kinds.extraction.settings import ExtractJob
from microtome.jobs.kinds.shared_runs import Making
from microtome.jobs.models.placement import DeviceMap
from microtome.jobs.process.device_use import DeviceUse
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.store.artifacts.store import Staging, Store
from microtome.store.cache.description import CachedSplit
from microtome.store.cache.layout import plan_parts
from microtome.store.cache.writer import CacheWriter

MEGABYTE = 1 << 20


class _Cache(NamedTuple):
    making: Making
    writer: CacheWriter
    prepared: Prepared


def extract(job: ExtractJob, store: Store, staging: Staging) -> None:
    """Make one cache, with a model that is loaded for it."""
    with LoadedBackbone() as backbone:
        extract_in_one_pass([Making(job, staging)], store, backbone)


def extract_in_one_pass(makings: Sequence[Making], store: Store, backbone: LoadedBackbone) -> None:
    """Tokenise everything, then fill and write the parts that are not there yet of every cache. The jobs are
    of one checkpoint and of the same examples."""
    source = makings[0].job.sources.checkpoint
    folder = backbone.folder(source, store, makings[0].staging.scratch)
    prepared = prepare_all([making.job for making in makings], folder, source.name)
    use = DeviceUse()
    _say_what_is_special(prepared)
    finished = False
    while not finished:
        with contextlib.suppress(WrittenWider):
            _write(makings, prepared, backbone)
            finished = True
    used = _share_of(use.noted(), len(makings))
    for staging in (making.staging for making in makings if not making.staging.overtaken):
        staging.provenance.update(provenance(), **used)


def _write(makings: Sequence[Making], prepared: Sequence[Prepared], backbone: LoadedBackbone) -> None:
    """Fill and write the parts that are not there yet, and say of each cache what its manifest needs, unless
    another process has finished it."""
    stagings = [making.staging for making in makings]
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(writer) for writer in _writers(makings, prepared, backbone.device)]
        for writer in writers:
            count, parts = len(writer.examples.rows), len(writer.parts)
            to_do = len(writer.missing())
            log_progress(f"{count} examples in {parts} {writer.form.format} parts, {to_do} to do")
        caches = [_Cache(*cache) for cache in zip(makings, writers, prepared, strict=True)]
        _compute(caches, backbone)
        for staging in stagings:
            staging.stop_sharing()
        for staging in stagings:
            staging.wait_for_others()
        # What is missing now was claimed by a process that died.
        left = [cache for cache in caches if not cache.making.staging.overtaken]
        _compute(left, backbone)
        for making, writer, each in left:
            description, making.staging.files = writer.finish(_split(making.job, each))
            description.write(making.staging.outputs)


def _compute(caches: Sequence[_Cache], backbone: LoadedBackbone) -> None:
    """One pass for all caches that have the same parts; a cache that was begun with other parts by itself."""
    by_parts: dict[tuple[range, ...], list[_Cache]] = {}
    for cache in caches:
        if cache.writer.missing():
            by_parts.setdefault(tuple(cache.writer.parts), []).append(cache)
    for group in by_parts.values():
        options = [cache.making.job.config.extract for cache in group]
        attentions = any("attention" in each.keep for each in options)
        device_map: DeviceMap = "auto" if any(each.device_map == "auto" for each in options) else "one"
        model = backbone.model(attentions=attentions, compute=options[0].compute, device_map=device_map)
        batch_tokens = min((each.batch_tokens for each in options if each.batch_tokens), default=None)
        first = group[0].prepared
        writers = [cache.writer for cache in group]
        facts = [cache.prepared.facts for cache in group]
        compute_parts(writers, first.encodings, model, first.tokenizer, batch_tokens, facts)


def _writers(makings: Sequence[Making], prepared: Sequence[Prepared], device: Any) -> list[CacheWriter]:
    """A writer of each cache, not opened yet. All have the same parts, which are of one size together."""
    size = min(making.job.config.extract.part_megabytes for making in makings) * MEGABYTE
    ends: list[int] = []
    if len(makings) > 1:
        sizes = np.sum([each.bytes_per_example() for each in prepared], axis=0)
        ends = [part.stop for part in plan_parts(sizes, size)]
    writers = []
    for making, each in zip(makings, prepared, strict=True):
        options, staging = making.job.config.extract, making.staging
        writers.append(
            CacheWriter(
                staging.path,
                staging.scratch,
                replace(each.layout, dtype=dtype_on_disk(options.dtype, staging.scratch)),
                each.table,
                rows=each.rows,
                part_format=options.format,
                compression=options.compression,
                part_bytes=size,
                ends=ends,
                allocate=pinned_memory if device.type == "cuda" else None,
                written=staging.send_progress,
            )
        )
    return writers


def _split(job: ExtractJob, prepared: Prepared) -> CachedSplit:
    """What the cache says of the split that it is of."""
    config, task = job.config, job.sources.data.task
    task_type = TASK_TYPES[config.type]
    return CachedSplit(
        task=task.name,
        split=config.split,
        unit=task_type.unit,
        classes=tuple(task_type.classes(config.labels)),
        credentialed=task.credentialed,
        segments=config.extract.segments,
        max_length=int(config.extract.max_length or 0),
        truncated_words=sum(e.truncated_words for e in prepared.encodings),
        compute=config.extract.compute,
    )


def _say_what_is_special(prepared: Sequence[Prepared]) -> None:
    if any(each.sinks for each in prepared):
        log_progress(
            "attention sinks: a learned weight takes a share of each row, so that rows sum to less than 1"
        )
    cut = sum(encoding.mentions_cut for encoding in prepared[0].encodings)
    if cut:
        log_progress(f"{cut} relations have a mention beyond max_length: probes leave them out")


def _share_of(used: dict[str, Any], caches: int) -> dict[str, Any]:
    """What one of the caches took of the device, so that the sum over them is what was used."""
    shared = {
        name: round(used[name] / caches, 3) for name in ("device_seconds", "energy_joules") if name in used
    }
    return used | shared
