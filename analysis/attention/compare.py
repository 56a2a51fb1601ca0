"""Attention comparison: how each head attends in two checkpoints, on the same tokens, and how it changed."""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from microtome.analysis.attention.divergence import cosine, jensen_shannon, l1
from microtome.analysis.attention.kept_patterns import kept_name
from microtome.analysis.attention.patterns import (
    PATTERNS,
    ExamplePatterns,
    Pattern,
    TokenFacts,
    Tokens,
    mean_over_rows,
    share_of_sink,
    share_of_special,
)
from microtome.analysis.attention.rows import Places, distributions, tokens_to_compare
from microtome.analysis.attention.sources import (
    Attention,
    attentions,
    basis_of_change,
    basis_of_patterns,
    described,
    refuse_without_patterns,
    refuse_without_rows,
    rows_in_common,
)
from microtome.analysis.cache_checks import require_same_tokens, same_cache, select_layers
from microtome.analysis.numerics.half_precision import to_float32
from microtome.store import ActivationCache
from microtome.store.config import Config, Layer
from microtome.store.errors import InputError

Measure = Literal["cosine", "jensen_shannon", "l1", "cosine_whole"]
USUAL: tuple[Measure, ...] = ("cosine", "jensen_shannon", "l1")
LEAST_SINK = 0.01  # share of attention that goes to no token; less than this is rounding
BETWEEN_SEEDS = "between seeds"  # the stage of rows about two seeds of the same fine-tuning
Z = 1.96  # a 95 % interval of a mean over examples
Distributions = tuple[np.ndarray, np.ndarray]  # rows that sum to one, and their masses
PerExample = dict[tuple[str | None, str], list[np.ndarray]]  # (stage, metric) -> [heads] of each example


class AttentionConfig(Config):
    """What is compared."""

    measures: tuple[Measure, ...] = Field(
        USUAL,
        json_schema_extra={"any_order": True},
        description="change: cosine of flattened maps; cosine_whole, of maps as they are stored, whatever "
        "special and invisible say (Bonfigli et al. 2024); Jensen-Shannon of rows, mean over rows, over "
        "ln 2; l1, the summed absolute difference of rows, mean over rows, 0 to 2. A row counts by the share "
        "of its attention that goes to the tokens that are compared, the smaller of before and after",
    )
    patterns: tuple[Pattern, ...] = Field(
        PATTERNS,
        json_schema_extra={"any_order": True},
        description="where each head attends, before and after, mean over query rows, each counting by the "
        "share of its attention that goes to the tokens that are compared; to_sink is what goes to no token, "
        "in models with attention sinks",
    )
    layers: tuple[Layer, ...] | None = Field(
        None,
        min_length=1,
        json_schema_extra={"any_order": True},
        description="attention layers from 0; all that are kept if unset",
    )
    special: Literal["mask", "keep"] = Field(
        "mask",
        description="special tokens: mask leaves them out as queries and keys and lets rows sum to one again "
        "(to_special is of whole maps all the same)",
    )
    invisible: Literal["mask", "keep"] = Field(
        "mask", description="keys after the query, in causal models: mask does not count them as visible"
    )

    @model_validator(mode="after")
    def _measures_something(self) -> "AttentionConfig":
        if not self.measures and not self.patterns:
            raise ValueError("nothing to measure: give measures, patterns or both")
        return self


def compare_attention(
    config: AttentionConfig,
    before: ActivationCache,
    after: ActivationCache,
    log_progress: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Mean over examples per layer and head, and `<metric>_std`, its spread; each layer is read once.

    Of caches that keep patterns in place of maps, patterns are exact, as they were computed from every row.
    No measure of change can be had from patterns: all of them are estimates from the rows that are kept
    beside them, which are of the same queries in both caches; their intervals over examples hold what the
    choice of rows adds, and so does their spread. A row's `basis` says what it comes of, if not whole maps.

    Measures of change have no stage, and a 95 % interval over examples; patterns have the stages "before" and
    "after". A row of a map counts by its mass, the share of its attention that masking leaves, so that a row
    that nearly all went to special tokens hardly counts. A cache compared with itself
    gives patterns "before" alone. `n` is how many examples have the metric at all: one needs a row that
    masking left, across_segments two texts. InputError unless both hold the same tokens in the same order.
    """
    same = same_cache(before, after)
    if not config.patterns and (same or not config.measures):
        raise InputError(
            f"nothing to measure of {before.path.name}: give patterns, or two caches and measures"
        )
    _refuse_mismatch(before, after)
    stages = {"before": before} if same else {"before": before, "after": after}
    if config.measures and not same:
        refuse_without_rows(list(stages.values()), config.measures)
    if config.patterns:
        names = [kept_name(name, config.special, config.invisible) for name in config.patterns]
        refuse_without_patterns(list(stages.values()), names)
    for description in dict.fromkeys(described(cache) for cache in stages.values()):
        log_progress(f"attentions are {description}")
    facts = TokenFacts.of(before, causal=before.causal and config.invisible == "mask")
    bases: dict[str | None, str] = {None: basis_of_change(list(stages.values()))}
    bases |= {stage: basis_of_patterns(cache) for stage, cache in stages.items()}
    rows = []
    for layer in select_layers(config.layers, before.layout.attention_layers, before):
        for (stage, metric), per_example in _examples(config, stages, facts, layer).items():
            about = {"split": before.split, "layer": layer} | ({"stage": stage} if stage else {})
            about |= {"basis": bases[stage]} if bases[stage] else {}
            if metric != "to_sink" or np.max(per_example) >= LEAST_SINK:
                rows += _head_rows(about, metric, np.stack(per_example))
        log_progress(f"layer {layer}")
    return rows


def _examples(
    config: AttentionConfig, stages: dict[str, ActivationCache], facts: TokenFacts, layer: int
) -> PerExample:
    """Every metric of every example in one layer."""
    values: PerExample = defaultdict(list)
    changes = bool(config.measures) and len(stages) == 2
    for numbered in zip(*(attentions(cache, layer, rows=changes) for cache in stages.values()), strict=True):
        tokens = facts.example(numbered[0][0])
        compared = tokens_to_compare(tokens.special, config.special)
        sources = [source for _, source in numbered]
        whole = [_of_whole_map(source, compared) for source in sources]
        if changes:
            for name, per_head in _changes(config, sources, whole, tokens).items():
                values[None, name].append(per_head)
        if config.patterns:
            patterns = ExamplePatterns(config.patterns, tokens.only(compared))
            for stage, source, of_map in zip(stages, sources, whole, strict=True):
                for name, per_head in _patterns(config, source, of_map, patterns, tokens).items():
                    values[stage, name].append(per_head)
    return values


def _of_whole_map(source: Attention, compared: Places) -> Distributions | None:
    """Rows and their masses, of the whole map; None where it is not there."""
    whole = source.rows is not None and source.queries is None
    return distributions(source.rows, compared, compared) if whole else None


def _changes(
    config: AttentionConfig, sources: list[Attention], whole: list[Distributions | None], tokens: Tokens
) -> dict[str, np.ndarray]:
    """Every measure of change of one example, from the rows that both sources have."""
    both_rows, queries = rows_in_common(sources)
    if queries is None:
        pair = [of_map for of_map in whole if of_map is not None]
    else:
        compared = tokens_to_compare(tokens.special[queries], config.special)
        keys = tokens_to_compare(tokens.special, config.special)
        pair = [distributions(rows, compared, keys) for rows in both_rows]
    (old, old_mass), (new, new_mass) = pair
    mass = np.minimum(old_mass, new_mass)
    return {
        name: cosine(*map(to_float32, both_rows))
        if name == "cosine_whole"
        else _MEASURES[name](old, new, mass)
        for name in config.measures
    }


def _patterns(
    config: AttentionConfig,
    source: Attention,
    of_map: Distributions | None,
    patterns: ExamplePatterns,
    tokens: Tokens,
) -> dict[str, np.ndarray]:
    """Every pattern that one example has, as it was kept, or else from its map."""
    if source.patterns is not None:
        names = {name: kept_name(name, config.special, config.invisible) for name in config.patterns}
        return {name: source.patterns[kept] for name, kept in names.items()}
    assert of_map is not None
    measured = patterns.measure(*of_map)
    if "to_special" in config.patterns:
        measured["to_special"] = share_of_special(source.rows, tokens.special)
    if "to_sink" in config.patterns:
        measured["to_sink"] = share_of_sink(source.rows)
    return measured


def _flat_cosine(old: np.ndarray, new: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """The cosine of flattened maps whose rows count by their mass."""
    root = np.sqrt(mass)[..., None]
    return np.where(mass.any(-1), cosine(old * root, new * root), np.nan)


def _row_divergence(old: np.ndarray, new: np.ndarray, mass: np.ndarray) -> np.ndarray:
    return mean_over_rows(jensen_shannon(old, new), mass) / math.log(2)


def _row_difference(old: np.ndarray, new: np.ndarray, mass: np.ndarray) -> np.ndarray:
    return mean_over_rows(l1(old, new), mass)


# float [heads] of two maps [heads, queries, keys]; invisible pairs are zero in both and add nothing to any.
_MEASURES = {"cosine": _flat_cosine, "jensen_shannon": _row_divergence, "l1": _row_difference}


def _head_rows(about: dict[str, Any], metric: str, values_eh: np.ndarray) -> list[dict[str, Any]]:
    """Mean and spread over the examples that have the metric, NaN marking those that do not; of a measure of
    change with its interval over examples."""
    counts = np.isfinite(values_eh).sum(0)
    heads = np.flatnonzero(counts)
    values = values_eh[:, heads].astype(np.float64)
    means, spreads, counts = np.nanmean(values, axis=0), np.nanstd(values, axis=0), counts[heads]
    reach = Z * spreads / np.sqrt(np.maximum(counts - 1, 1))
    rows = []
    for at, head in enumerate(heads):
        row = {**about, "head": int(head), "n": int(counts[at])}
        bounds: dict[str, float] = {}
        if "stage" not in about and counts[at] > 1:
            bounds = {"low": float(means[at] - reach[at]), "high": float(means[at] + reach[at])}
        rows += [{**row, "metric": metric, "value": float(means[at]), **bounds}]
        rows += [{**row, "metric": f"{metric}_std", "value": float(spreads[at])}]
    return rows


def _refuse_mismatch(before: ActivationCache, after: ActivationCache) -> None:
    names = f"{before.path.name} and {after.path.name}"
    if not before.layout.attention_layers or not after.layout.attention_layers:
        raise InputError(f"{names}: at least one keeps no attentions")
    if (before.layers, before.heads, before.causal) != (after.layers, after.heads, after.causal):
        raise InputError(f"{names} are of different architectures")
    require_same_tokens(before, after)
