"""Runs an extraction: tokenises everything, then writes the parts that are not there yet."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from microtome.jobs.kinds.extraction.parts import BEYOND_FLOAT16, WrittenWider, compute_parts, pinned_memory
from microtome.jobs.kinds.extraction.prepared import Prepared, prepare
from microtome.jobs.kinds.extraction.settings import ExtractConfig, ExtractJob
from microtome.jobs.process.device_use import DeviceUse
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.store.artifacts.store import Staging, Store
from microtome.store.cache.description import CacheDescription, CachedSplit
from microtome.store.cache.writer import CacheWriter
from microtome.store.errors import DtypeOverflowError
from microtome.store.files.checksums import FileRecord

WIDER = "bfloat16"  # dtype on disk that has the range of float32 in the size of float16


def extract(job: ExtractJob, store: Store, staging: Staging) -> None:
    """Tokenise everything, then fill and write the parts that are not there yet."""
    from microtome.jobs.models import loading

    config, options, source = job.config, job.config.extract, job.sources.checkpoint
    task, task_type = job.sources.data.task, TASK_TYPES[config.type]
    folder = source.folder(store, staging.scratch)
    prepared = prepare(job, folder, source.name)
    device, use = loading.best_device(), DeviceUse()
    if prepared.sinks:
        log_progress(
            "attention sinks: a learned weight takes a share of each row, so that rows sum to less than 1"
        )
    split = CachedSplit(
        task=task.name,
        split=config.split,
        unit=task_type.unit,
        classes=tuple(task_type.classes(config.labels)),
        credentialed=task.credentialed,
        segments=options.segments,
        max_length=int(options.max_length or 0),
        truncated_words=sum(e.truncated_words for e in prepared.encodings),
        compute=options.compute,
    )
    cut = sum(encoding.mentions_cut for encoding in prepared.encodings)
    if cut:
        log_progress(f"{cut} relations have a mention beyond max_length: probes leave them out")
    written = None
    while written is None:
        layout = replace(prepared.layout, dtype=_dtype_on_disk(options, staging.scratch))
        try:
            written = _write(replace(prepared, layout=layout), split, options, folder, device, staging)
        except DtypeOverflowError as error:
            if layout.dtype != "float16":
                raise
            (staging.scratch / BEYOND_FLOAT16).touch()
            log_progress(f"{error}: the cache is written in {WIDER}, from its first part on")
        except WrittenWider:
            log_progress(f"another process met values beyond float16: the cache is written in {WIDER}")
    if not written:
        return
    description, staging.files = written
    description.write(staging.outputs)
    staging.provenance.update(provenance(), **use.noted())


def _write(
    prepared: Prepared,
    split: CachedSplit,
    options: ExtractConfig,
    folder: Path,
    device: Any,
    staging: Staging,
) -> tuple[CacheDescription, dict[str, FileRecord]] | tuple[()]:
    """Fill and write the parts that are not there yet; what the manifest says of them, or nothing if another
    process has finished this cache."""
    from microtome.jobs.models import loading

    with CacheWriter(
        staging.path,
        staging.scratch,
        prepared.layout,
        prepared.table,
        rows=prepared.rows,
        part_format=options.format,
        compression=options.compression,
        part_bytes=options.part_megabytes << 20,
        allocate=pinned_memory if device.type == "cuda" else None,
        written=staging.send_progress,
    ) as writer:
        count, parts = len(prepared.encodings), len(writer.parts)
        log_progress(f"{count} examples in {parts} {writer.form.format} parts, {len(writer.missing())} to do")
        for others_are_done in (False, True):
            if others_are_done:
                staging.wait_for_others()  # what is missing now was claimed by a process that died
            if staging.overtaken:
                return ()
            if writer.missing():
                attentions = "attention" in options.keep
                model = loading.load_backbone(folder, device, attentions=attentions, compute=options.compute)
                compute_parts(writer, prepared.encodings, model, prepared.tokenizer, options.batch_tokens)
        return writer.finish(split)


def _dtype_on_disk(options: ExtractConfig, scratch: Path) -> str:
    """All parts of a cache have one dtype, whichever processes write them: a file in the folder that they
    share says that float16 does not do."""
    beyond = options.dtype == "float16" and (scratch / BEYOND_FLOAT16).exists()
    return WIDER if beyond else options.dtype
