"""Claims about correlations as sentences of the page: the only place where they become text."""

from collections.abc import Sequence
from itertools import groupby

from markupsafe import Markup

from microtome.analysis.bootstrap import LEVEL
from microtome.analysis.correlation import FEWEST, Claim, Predictor, Verdict
from microtome.analysis.report.frames import metric_name

LAYERS = {"best": "at its best layer", "mean": "mean over layers"}
OVER = {"points": "over all points", "within models": "within models"}
VERDICTS = {
    Verdict.HIGHER: "the downstream score is higher where it is higher",
    Verdict.LOWER: "the downstream score is lower where it is higher",
    Verdict.NOT_SHOWN: "no relation is shown: the interval includes zero",
}
NOTHING = (
    "Nothing can be said of how downstream scores relate to the layers: "
    f"no predictor has {FEWEST} points over which both vary."
)


def predictor_name(predictor: Predictor) -> str:
    """A predictor in running text, such as "linear: macro F1"."""
    metric = metric_name(predictor.metric)
    return f"{predictor.method}: {metric}" if predictor.method else metric


def sentences(claims: Sequence[Claim]) -> dict[str, list[Markup]]:
    """By task, one sentence per predictor and layer with what its claims say."""
    by_task: dict[str, list[Markup]] = {}
    for (task, predictor, layer), group in groupby(claims, key=lambda c: (c.task, c.predictor, c.layer)):
        name = predictor_name(predictor)
        about = Markup("{}, {}: ").format(name[:1].upper() + name[1:], LAYERS[layer])
        clauses = Markup("; ").join(_clause(claim) for claim in group)
        by_task.setdefault(task, []).append(about + clauses + ".")
    return by_task


def note(claims: Sequence[Claim]) -> str:
    """What holds for all claims together: how many of so many intervals chance alone would let stand."""
    if not claims:
        return NOTHING
    intervals = sum(claim.verdict is not Verdict.TOO_FEW for claim in claims)
    if intervals < 2:
        return ""
    return (
        f"These are {intervals} intervals of {LEVEL:.0%} each: of so many, about "
        f"{intervals * (1 - LEVEL):.1f} would leave zero out by chance alone."
    )


def _clause(claim: Claim) -> Markup:
    """One claim; its numbers are printed small."""
    over = OVER[claim.over]
    if claim.verdict is Verdict.TOO_FEW:
        return Markup("{}, {} points are too few to say anything").format(over, claim.n)
    return Markup("{}, {} <small>(Spearman's rho {}, {} interval {} to {}, n = {})</small>").format(
        over,
        VERDICTS[claim.verdict],
        _number(claim.rho),
        f"{LEVEL:.0%}",
        _number(claim.low),
        _number(claim.high),
        claim.n,
    )


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
