"""Where the activations of a padded batch go in a part: valid tokens and visible pairs only.

Both classes fill the same arrays. On a CPU each sequence is copied into its slot. On a GPU the part lies on
the device while it is filled, by index, so that nothing waits for a batch; it leaves in one piece.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from microtome.analysis.attention.patterns import TokenFacts
from microtome.jobs.models.pattern_fill import PatternFill
from microtome.jobs.models.rounding import RoundingErrors, as_torch, put_rows
from microtome.jobs.models.row_selection import RowSelection
from microtome.jobs.models.strongest import KeptMass, mass_of, strongest
from microtome.store.cache.layout import ATTENTION, OF_ATTENTION, Layout
from microtome.store.cache.writer import PartBuffer
from microtome.store.errors import MicrotomeError


@dataclass(frozen=True)
class Piece:
    """A sequence of `length` tokens, from token `start` of an example on. Where every token is kept, its
    hidden states go to `token` and the tokens after it; its attentions go to `pair` and the pairs after it,
    in its part's arrays."""

    example: int
    start: int
    length: int
    token: int
    pair: int


class HostPart:
    """Fills the arrays of a part in host memory."""

    def __init__(
        self,
        buffer: PartBuffer,
        layout: Layout,
        errors: RoundingErrors,
        mass: KeptMass,
        *,
        facts: TokenFacts | None = None,
    ) -> None:
        self._arrays = {name: as_torch(v, layout.dtype_of(name)) for name, v in buffer.arrays.items()}
        self._layout, self._errors, self._mass = layout, errors, mass
        self._patterns = PatternFill(buffer, layout, facts, None) if facts is not None else None
        self._causality = _Causality(layout)
        self._rows: Sequence[Piece] = ()
        self._selection: RowSelection | None = None

    def next_batch(self, rows: Sequence[Piece], selection: RowSelection | None = None) -> None:
        """What is put from now on are the activations of these; `selection` is what is kept of their tokens,
        if that is not all."""
        self._rows, self._selection = rows, selection
        if self._patterns is not None:
            self._patterns.next_batch([row.example for row in rows])

    def put_rows(self, name: str, index: int, states: torch.Tensor) -> None:
        """The [batch, S, d] of the layer that is number `index` of those kept in array `name`."""
        part = self._arrays[name][index]
        where = name, self._layout.kept(name)[index]
        if self._selection is not None:
            put_rows(part, self._selection.target, self._selection.of(states), where, self._errors)
            return
        for states_of_one, row in zip(states, self._rows, strict=True):
            place = slice(row.token, row.token + row.length)
            put_rows(part, place, states_of_one[: row.length], where, self._errors)

    def put_attention(self, index: int, maps: torch.Tensor) -> None:
        """The [batch, heads, S, S] of the layer that is number `index` of those kept."""
        self._causality.look_at(index, maps)
        if self._patterns is not None:
            self._patterns.put(self._arrays, index, maps)
            return
        if self._layout.attention_topk is not None:
            self._put_strongest(index, strongest(maps, self._layout.attention_topk))
            return
        for maps_of_one, row in zip(maps, self._rows, strict=True):
            length = row.length
            square = maps_of_one[:, :length, :length]
            if self._causality.expected:
                triangle = _triangle(length)
                place = self._arrays[ATTENTION][index, :, row.pair : row.pair + len(triangle)]
                place[:] = square.flatten(1)[:, triangle]
            else:
                place = self._arrays[ATTENTION][index, :, row.pair : row.pair + length * length]
                place.unflatten(1, (length, length))[:] = square

    def _put_strongest(self, index: int, weights: torch.Tensor) -> None:
        for weights_of_one, row in zip(weights, self._rows, strict=True):
            rows = weights_of_one[:, : row.length]
            self._mass.add(self._layout.attention_layers[index], mass_of(rows))
            place = self._arrays[ATTENTION][index, :, row.pair : row.pair + row.length * rows.shape[-1]]
            place.unflatten(1, rows.shape[1:])[:] = rows

    def finish(self) -> Callable[[], None]:
        """What to call before the part's buffer is read."""
        return self._causality.check


class DevicePart:
    """Fills the arrays of a part on a device, then copies them into the buffer's memory."""

    def __init__(
        self,
        buffer: PartBuffer,
        layout: Layout,
        errors: RoundingErrors,
        mass: KeptMass,
        device: torch.device,
        *,
        facts: TokenFacts | None = None,
    ) -> None:
        self._host = {name: as_torch(v, layout.dtype_of(name)) for name, v in buffer.arrays.items()}
        self._arrays = {name: torch.empty_like(v, device=device) for name, v in self._host.items()}
        self._layout, self._errors, self._mass = layout, errors, mass
        self._causality = _Causality(layout)
        self._device = device
        self._patterns = PatternFill(buffer, layout, facts, device) if facts is not None else None

    def next_batch(self, rows: Sequence[Piece], selection: RowSelection | None = None) -> None:
        """What is put from now on are the activations of these; `selection` is what is kept of their tokens,
        if that is not all."""
        table = torch.tensor([(row.length, row.token, row.pair) for row in rows])
        if self._device.type == "cuda":
            table = table.pin_memory()
        lengths, tokens, pairs = table.to(self._device, non_blocking=True).unbind(1)
        longest = max(row.length for row in rows)
        if selection is not None:
            self._selection = selection.to(self._device)
        elif any(name not in OF_ATTENTION for name in self._arrays):
            row, position = self._spread(lengths, sum(r.length for r in rows))
            self._selection = RowSelection(row * longest + position, tokens[row] + position)
        if self._patterns is not None:
            self._patterns.next_batch([row.example for row in rows])
        elif ATTENTION in self._arrays:
            topk = self._layout.attention_topk
            causal = self._causality.expected and topk is None
            columns = lengths if topk is None else torch.full_like(lengths, 2 * topk)
            counts = lengths * (lengths + 1) // 2 if causal else lengths * columns
            width = longest if topk is None else 2 * topk
            total = sum(
                r.length * (r.length + 1) // 2 if causal else r.length * (2 * topk if topk else r.length)
                for r in rows
            )
            self._valid = torch.arange(longest, device=self._device) < lengths[:, None]
            row, position = self._spread(counts, total)
            if causal:  # position = query * (query + 1) / 2 + key; exact in float64 up to 2**50 pairs
                query = (((8 * position + 1).double().sqrt() - 1) / 2).floor().long()
                key = position - query * (query + 1) // 2
            else:
                query, key = position // columns[row], position % columns[row]
            self._pair_from = (row * longest + query) * width + key
            self._pair_to = pairs[row] + position

    def _spread(self, counts: torch.Tensor, total: int) -> tuple[torch.Tensor, torch.Tensor]:
        """For each of `total` elements, `counts` of each row: its row, and its position in the row."""
        rows = torch.arange(len(counts), device=self._device)
        row = torch.repeat_interleave(rows, counts, output_size=total)
        before = counts.cumsum(0) - counts
        return row, torch.arange(total, device=self._device) - before[row]

    def put_rows(self, name: str, index: int, states: torch.Tensor) -> None:
        """The [batch, S, d] of the layer that is number `index` of those kept in array `name`."""
        where = name, self._layout.kept(name)[index]
        values = self._selection.of(states)
        put_rows(self._arrays[name][index], self._selection.target, values, where, self._errors)

    def put_attention(self, index: int, maps: torch.Tensor) -> None:
        """The [batch, heads, S, S] of the layer that is number `index` of those kept."""
        self._causality.look_at(index, maps)
        if self._patterns is not None:
            self._patterns.put(self._arrays, index, maps)
            return
        part = self._arrays[ATTENTION]
        if self._layout.attention_topk is not None:
            maps = strongest(maps, self._layout.attention_topk)
            mass = mass_of(maps).transpose(1, 2)[self._valid]
            self._mass.add(self._layout.attention_layers[index], mass)
        visible = maps.transpose(0, 1).flatten(1).index_select(1, self._pair_from)
        part[index].index_copy_(1, self._pair_to, visible.to(part.dtype))

    def finish(self) -> Callable[[], None]:
        """Start the copy into the buffer; what to call before the buffer is read."""
        if self._device.type != "cuda":
            for name, values in self._arrays.items():
                self._host[name].copy_(values)
            return self._causality.check
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for name, values in self._arrays.items():
                self._host[name].copy_(values, non_blocking=True)
                values.record_stream(stream)
        copied = torch.cuda.Event()
        copied.record(stream)

        def wait() -> None:
            copied.synchronize()
            self._causality.check()

        return wait


class _Causality:
    """Whether a model taken for causal is: looked at in the first batch of a part, without waiting for it."""

    def __init__(self, layout: Layout) -> None:
        self.expected = layout.causal
        self._seen: dict[int, torch.Tensor] = {}

    def look_at(self, index: int, maps: torch.Tensor) -> None:
        if self.expected and index not in self._seen:
            self._seen[index] = maps[0, 0].triu(1).any()

    def check(self) -> None:
        if any(bool(seen) for seen in self._seen.values()):
            raise MicrotomeError("this architecture was taken for causal, but tokens see what is after them")


@functools.lru_cache(maxsize=1024)
def _triangle(length: int) -> torch.Tensor:
    """The visible pairs of a causal map among the length * length of the square, row by row."""
    rows, columns = torch.tril_indices(length, length)
    return rows * length + columns
