"""Benchmarks of extraction and of reading what it wrote."""

from functools import partial

import numpy as np

from microtome.store.files.operations import ALIGNMENT, aligned_memory, flush, folder_bytes, write_bytes
from tests.bench.measuring import FORMATS, Amount, Bench, Row, Speed, seconds


def extraction_cost(bench: Bench) -> list[Row]:
    """Extraction against the forward pass alone, and against the common way, by tokens per second."""
    longest, fastest = (1.3, 15) if bench.device.type == "cuda" else (1.15, 3)
    *times, bare, common = seconds(
        *(partial(bench.extract, form=form) for form in FORMATS),
        bench.forward,
        lambda: bench.common_way(bench.few_examples),
        after=bench.clear,
    )
    limit, slow = bench.tokens() / bare, bench.tokens(bench.few_examples) / common
    common_detail = f"common way {slow:.0f} tokens/s; bare forward pass {limit / slow:.2f} times that"
    rows: list[Row] = []
    for form, time_taken in zip(FORMATS, times, strict=True):
        speed = bench.tokens() / time_taken
        detail = f"{speed:.0f} tokens/s; bare {limit:.0f}"
        ours = f"extraction to disk ({form})"
        rows.append(Speed(ours, "the bare batched forward pass", speed / limit, 1 / longest, detail))
        common_way = "one sentence at a time into one HDF5 dataset each, hidden states only"
        rows.append(Speed(ours, common_way, speed / slow, fastest, common_detail))
    return rows


def writing(bench: Bench) -> list[Row]:
    """Where the forward pass is faster than the disk: bytes per second against those of the disk alone."""
    size = int(bench.extract().layout.bytes_per_example(_lengths(bench)).sum())
    bench.clear()
    block = aligned_memory(min(256 << 20, -(-size // ALIGNMENT) * ALIGNMENT))
    block[:] = np.random.default_rng(0).integers(0, 256, len(block), np.uint8)
    path = bench.folder / "disk.bin"

    def disk() -> None:
        path.touch()
        for offset in range(0, size, len(block)):
            write_bytes(path, offset, block)
        flush(path)

    def clear() -> None:
        bench.clear()
        path.unlink(missing_ok=True)

    ours, bare = seconds(bench.extract, disk, after=clear)
    detail = f"{size / ours / 1e9:.2f} GB/s of {size / bare / 1e9:.2f} GB/s"
    return [Speed("extraction", "writing as many bytes to the disk", bare / ours, 0.8, detail)]


def bytes_on_disk(bench: Bench) -> list[Row]:
    """Bytes of the parts over elements that exist times their size, and files per 10 GB."""
    rows: list[Row] = []
    for form in FORMATS:
        cache = bench.extract(form=form)
        elements = int(cache.layout.bytes_per_example(_lengths(bench)).sum())
        parts = cache.path / "parts"
        detail = f"{elements / 1e6:.0f} MB"
        ratio = folder_bytes(parts) / elements
        rows.append(Amount(f"bytes on disk over elements times their size ({form})", ratio, 1.02, detail))
        files = sum(path.is_file() for path in parts.rglob("*"))
        rows.append(Amount(f"files per 10 GB ({form})", files / elements * 1e10, 300, f"{files} files"))
        bench.clear()
    return rows


def reading_a_layer(bench: Bench) -> list[Row]:
    """numpy.fromfile of the same bytes, warm, against `cache.hidden`."""
    rows: list[Row] = []
    for form in FORMATS:
        cache = bench.extract(form=form, examples=bench.few_examples)
        path = bench.folder / "layer.bin"
        path.unlink(missing_ok=True)
        path.touch()
        layer = cache.hidden(3)
        block = aligned_memory(layer.nbytes)
        block[:] = layer.view(np.uint8).reshape(-1)
        write_bytes(path, 0, block)  # as parts are written: it decides how the system caches the file
        plain, ours = seconds(
            partial(np.fromfile, path, np.float16),
            partial(cache.hidden, 3),
            repeats=51,
        )
        detail = f"{ours * 1e3:.2f} ms for {path.stat().st_size / 1e6:.1f} MB"
        rows.append(Speed(f"cache.hidden(layer), warm ({form})", "numpy.fromfile", plain / ours, 0.7, detail))
        bench.clear()
    return rows


def _lengths(bench: Bench) -> np.ndarray:
    return np.array([len(e.input_ids) for e in bench.encodings])
