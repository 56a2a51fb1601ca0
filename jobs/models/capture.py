"""Where a model's activations appear, and hooks that hand each of them over while the model computes.

transformers returns hidden states and attentions of all layers when a pass is over, so that all of them are
in memory at once. Here each is handed over when a module of the model makes it, so that memory holds one
layer's. Which module makes which is found by a pass over a few tokens in which the model returns them too:
no table of architectures says it. What transformers never returns, such as queries, is taken where the table
in `sites.py` says.
"""

import contextlib
import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from microtome.jobs.models.sites import BLOCKS, BlockPaths
from microtome.store.cache.layout import ATTENTION, HIDDEN, Layout, SiteLayout
from microtome.store.errors import MicrotomeError

OUTPUTS = {HIDDEN: "hidden_states", ATTENTION: "attentions"}  # as transformers calls them
SAMPLE_TOKENS = 8

Side = Literal["input", "output"]
Receive = Callable[[str, int, torch.Tensor], None]  # array, layer, values


@dataclass(frozen=True)
class CapturePoint:
    """The activations of one layer: what goes into or comes out of a module, at its call number `call` of a
    pass (ALBERT calls one block for every layer); `item` is their place where that is a tuple."""

    module: torch.nn.Module
    call: int
    side: Side
    item: int | None
    cut: Callable[[torch.Tensor], torch.Tensor] | None = None  # of a module that makes several

    def value(self, passed: Any) -> torch.Tensor:
        """The activations among what passes here."""
        values = passed if self.item is None or isinstance(passed, torch.Tensor) else passed[self.item]
        return self.cut(values) if self.cut else values


class Capture:
    """Runs a model, and hands over the layers that a layout keeps.

    `sample` is a batch of a few tokens. Raises MicrotomeError if what the model returns is not what its
    config says: one stack of equal layers.
    """

    def __init__(self, model: Any, layout: Layout, sample: Mapping[str, torch.Tensor]) -> None:
        self._model = model
        self._layout = layout
        points, returned = find_points(model, layout, sample)
        self._points = points
        self._receive: Receive = _ignore
        self._calls: Counter[tuple[torch.nn.Module, Side]] = Counter()
        self._empties = False
        self._shape: tuple[int, ...] = ()
        # Some architectures make attention weights only if they are to return them, and keep them to the end
        # of the pass: there they are replaced as soon as they are handed over.
        missing = {name: self._kept(name) - set(points[name]) for name in points}
        self._from_output = {name: sorted(layers) for name, layers in missing.items()}
        self._flags = {f"output_{OUTPUTS[name]}": bool(layers) for name, layers in missing.items()}
        if ATTENTION in points and not missing[ATTENTION] and not self._hands_over_all(sample, returned):
            self._flags["output_attentions"] = True
            self._empties = True
        if layout.sites:
            points |= site_points(model, layout)
            self._check_sites(sample)

    def run(self, batch: Mapping[str, torch.Tensor], receive: Receive) -> None:
        """One pass; `receive` gets every layer that is kept, once, in any order."""
        self._receive = receive
        self._calls.clear()
        self._shape = tuple(batch["input_ids"].shape)
        output = self._model(**batch, **self._flags)
        for name, layers in self._from_output.items():
            for layer in layers:
                receive(name, layer, getattr(output, OUTPUTS[name])[layer])
        self._receive = _ignore

    @contextlib.contextmanager
    def hooked(self) -> Iterator[None]:
        """While this is open, the model has the hooks that `run` needs."""
        by_place: dict[tuple[torch.nn.Module, Side], dict[int, list[tuple[str, int, CapturePoint]]]] = {}
        for name, points in self._points.items():
            for layer, point in points.items():
                calls = by_place.setdefault((point.module, point.side), defaultdict(list))
                calls[point.call].append((name, layer, point))
        handles = []
        for (module, side), calls in by_place.items():
            hook = functools.partial(self._hook, side, calls)
            if side == "input":
                handles.append(module.register_forward_pre_hook(hook))
            else:
                handles.append(module.register_forward_hook(hook))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(
        self,
        side: Side,
        calls: Mapping[int, Sequence[tuple[str, int, CapturePoint]]],
        module: torch.nn.Module,
        inputs: Any,
        output: Any = None,
    ) -> Any:
        call = self._calls[module, side]
        self._calls[module, side] += 1
        passed = inputs if side == "input" else output
        for name, layer, point in calls.get(call, ()):
            values = point.value(passed)
            if values is None:
                continue
            if name not in OUTPUTS:  # OPT lays all tokens of a batch in one row for a while
                values = values.reshape(*self._shape, values.shape[-1])
            self._receive(name, layer, values)
            if name == ATTENTION and self._empties and point.item is not None:
                passed = (*passed[: point.item], values.new_empty(0), *passed[point.item + 1 :])
        return passed if side == "output" and passed is not output else None

    def _kept(self, name: str) -> set[int]:
        return set(self._layout.kept(name))

    def _hands_over_all(self, sample: Mapping[str, torch.Tensor], returned: Mapping[str, Any]) -> bool:
        """Whether every layer that is kept comes, and is what the model returned, without a flag."""
        same: dict[tuple[str, int], bool] = {}

        def compare(name: str, layer: int, values: torch.Tensor) -> None:
            same[name, layer] = torch.allclose(values, returned[name][layer], rtol=1e-2, atol=1e-3)

        with self.hooked():
            self.run(sample, compare)
        wanted = {(name, layer) for name in returned for layer in self._kept(name)}
        return set(same) == wanted and all(same.values())

    def _check_sites(self, sample: Mapping[str, torch.Tensor]) -> None:
        """MicrotomeError unless every site comes, of every layer that is kept, in its shape."""
        shapes: dict[tuple[str, int], tuple[int, ...]] = {}

        def note_shape(name: str, layer: int, values: torch.Tensor) -> None:
            shapes[name, layer] = tuple(values.shape)

        with self.hooked():
            self.run(sample, note_shape)
        for site in self._layout.sites:
            expected = (*sample["input_ids"].shape, site.heads * site.dim)
            for layer in site.layers:
                shape = shapes.get((site.name, layer))
                if shape != expected:
                    came = "nothing" if shape is None else f"{list(shape)}"
                    raise MicrotomeError(
                        f"{site.name} of block {layer}: {came} came, where the model's config promises "
                        f"{list(expected)}; this site of this architecture cannot be cached"
                    )


def find_points(
    model: Any, layout: Layout, sample: Mapping[str, torch.Tensor]
) -> tuple[dict[str, dict[int, CapturePoint]], dict[str, Sequence[torch.Tensor]]]:
    """Of each array and layer that is kept, where in the model it appears, as far as it does; and what the
    model itself returns."""
    seen: dict[tuple[int, int], list[tuple[CapturePoint, torch.Tensor]]] = defaultdict(list)
    calls: Counter[tuple[torch.nn.Module, Side]] = Counter()
    alive: list[Any] = []  # so that no two tensors of the pass get the same address

    def note(side: Side, module: torch.nn.Module, passed: Any) -> None:
        call = calls[module, side]
        calls[module, side] += 1
        alive.append(passed)
        items = [(None, passed)] if isinstance(passed, torch.Tensor) else _items(passed)
        for item, value in items:
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                seen[_address(value)].append((CapturePoint(module, call, side, item), value.clone()))

    def before(module: torch.nn.Module, inputs: Any) -> None:
        note("input", module, inputs)

    def after(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        note("output", module, output)

    inner = [module for module in model.modules() if module is not model]
    handles = [module.register_forward_pre_hook(before) for module in inner]
    handles += [module.register_forward_hook(after) for module in inner]
    try:
        flags = {f"output_{OUTPUTS[name]}": name in layout.names() for name in OUTPUTS}
        output = model(**sample, **flags)
    finally:
        for handle in handles:
            handle.remove()
    names = [name for name in layout.names() if name in OUTPUTS]
    returned = {name: getattr(output, OUTPUTS[name], None) or () for name in names}
    check_shapes(returned, layout, sample["input_ids"].shape)
    points: dict[str, dict[int, CapturePoint]] = {}
    for name in names:
        layers = {layer: returned[name][layer] for layer in layout.kept(name)}
        best = {layer: _best(seen[_address(values)], values) for layer, values in layers.items()}
        points[name] = {layer: point for layer, point in best.items() if point is not None}
    return points, returned


def site_points(model: Any, layout: Layout) -> dict[str, dict[int, CapturePoint]]:
    """Of each site and layer that is kept, where in the model it appears. MicrotomeError if the model is not
    built as the table of its architecture says."""
    paths = BLOCKS[model.config.model_type]
    blocks = [block for block in model.modules() if _has_module(block, paths.projection)]
    shared = len(blocks) == 1 < layout.layers  # ALBERT runs one block again and again
    if not shared and len(blocks) != layout.layers:
        raise MicrotomeError(
            f"{len(blocks)} blocks with {paths.projection}, where the model's config promises "
            f"{layout.layers}; sites of this architecture cannot be cached"
        )
    return {
        site.name: {
            layer: _site_point(blocks[0 if shared else layer], layer if shared else 0, paths, site)
            for layer in site.layers
        }
        for site in layout.sites
    }


def _site_point(block: torch.nn.Module, call: int, paths: BlockPaths, site: SiteLayout) -> CapturePoint:
    """Where a block has a site, at its call number `call` of a pass."""
    if site.name == "head_output":
        return CapturePoint(block.get_submodule(paths.projection), call, "input", 0)
    if site.name == "attention_output":
        return CapturePoint(block.get_submodule(paths.projection), call, "output", 0)
    if site.name == "mlp_output":
        return CapturePoint(block.get_submodule(paths.mlp), call, "output", 0)
    module = block.get_submodule(getattr(paths, site.name))
    cut = _cut_out(("query", "key", "value").index(site.name), paths, site.dim) if paths.fused else None
    return CapturePoint(module, call, "output", 0, cut)


def _cut_out(third: int, paths: BlockPaths, head_dim: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """What takes query, key or value from the output of a module that makes all three."""

    def side_by_side(values: torch.Tensor) -> torch.Tensor:
        return values.chunk(3, dim=-1)[third]

    def head_by_head(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(-1, (-1, 3, head_dim))[..., third, :].flatten(-2)

    return side_by_side if paths.fused == "side by side" else head_by_head


def _has_module(module: torch.nn.Module, path: str) -> bool:
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True


def check_shapes(returned: Mapping[str, Sequence[Any]], layout: Layout, shape: Sequence[int]) -> None:
    """MicrotomeError if what the model returns for ids of a shape is not what its config says."""
    expected = {
        HIDDEN: (layout.layers + 1, (*shape, layout.dim)),
        ATTENTION: (layout.layers, (shape[0], layout.heads, shape[1], shape[1])),
    }
    for name, values in returned.items():
        count, each = expected[name]
        shapes = [tuple(layer.shape) for layer in values if layer is not None]
        if not shapes:
            raise MicrotomeError(f"the model returned no {OUTPUTS[name].replace('_', ' ')}")
        if shapes != [tuple(each)] * count:
            odd = next((layer for layer in shapes if layer != tuple(each)), tuple(each))
            raise MicrotomeError(
                f"the model returned {len(shapes)} {OUTPUTS[name].replace('_', ' ')}, one of them "
                f"{list(odd)}, where its config promises {count} of {list(each)}; "
                "this architecture cannot be cached"
            )


def _best(
    candidates: Sequence[tuple[CapturePoint, torch.Tensor]], wanted: torch.Tensor
) -> CapturePoint | None:
    """Where the activations are complete: a tensor that one module makes may be added to in place by the
    module around it. The last that returns it, or the first that takes it."""
    complete = [p for p, value in candidates if value.shape == wanted.shape and torch.equal(value, wanted)]
    made = [point for point in complete if point.side == "output"]
    return made[-1] if made else complete[0] if complete else None


def _items(passed: Any) -> list[tuple[int | None, Any]]:
    return list(enumerate(passed)) if isinstance(passed, tuple) else []


def _address(values: torch.Tensor) -> tuple[int, int]:
    return values.data_ptr(), values.numel()


def _ignore(name: str, layer: int, values: torch.Tensor) -> None:
    """What is handed over outside of a pass of `run` is of nobody."""
