"""Claims about correlations as sentences of the page: the only place where they become text."""

from collections.abc import Sequence
from itertools import groupby

from markupsafe import Markup

from microtome.analysis.bootstrap import LEVEL
from microtome.analysis.correlation import Claim, Predictor, Verdict
from microtome.analysis.model_swaps import FEWEST_POINTS, MODELS_NEEDED
from microtome.analysis.report.frames import metric_name

LAYERS = {"best": "at its best layer", "mean": "mean over layers"}
VERDICTS = {
    Verdict.HIGHER: "the downstream score is higher where it is higher",
    Verdict.LOWER: "the downstream score is lower where it is higher",
    Verdict.NOT_SHOWN: "no relation is shown",
}
NOTHING = (
    "Nothing can be said of how downstream scores relate to the layers: "
    f"no predictor has {FEWEST_POINTS} points over which both vary."
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
    """What holds for all claims together: from how many models on there are intervals, and how many tests
    are corrected for."""
    if not claims:
        return NOTHING
    tests = sum(claim.verdict is not Verdict.TOO_FEW_MODELS for claim in claims)
    sentences = []
    if tests < len(claims):
        sentences.append(
            f"A correlation has an interval from {MODELS_NEEDED} models on: the seeds, fractions and tasks "
            "of one model are no independent observations, and a few models may agree by chance."
        )
    if tests:
        sentences.append(
            "A relation is shown if it holds whichever model is left out, and if swapped models give as "
            f"strong a correlation in at most {1 - LEVEL:.0%} of the cases, by Holm's correction over "
            f"{tests} {'test' if tests == 1 else 'tests'}."
        )
    return " ".join(sentences)


def _clause(claim: Claim) -> Markup:
    """One claim; its numbers are printed small."""
    rho = Markup("Spearman's rho {}").format(_number(claim.rho))
    size = f"{claim.models} models, {claim.n} points"
    if claim.verdict is Verdict.TOO_FEW_MODELS:
        return Markup("{}, {} models are too few for an interval <small>({}, {})</small>").format(
            claim.over, claim.models, rho, size
        )
    numbers = Markup("{}, {} interval {} to {}, p = {:.3f}; {} to {} without one of the models; {}").format(
        rho,
        f"{LEVEL:.0%}",
        _number(claim.low),
        _number(claim.high),
        claim.p,
        *map(_number, claim.without_one),
        size,
    )
    return Markup("{}, {} <small>({})</small>").format(claim.over, VERDICTS[claim.verdict], numbers)


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
