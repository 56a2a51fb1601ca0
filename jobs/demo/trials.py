"""Invented trials: what was found, and statements that follow from it, contradict it or do neither."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from microtome.jobs.demo.names import Names, Words, pick, shared_names
from microtome.jobs.demo.templates import VOCABULARY

TRIAL_DRUGS = 20

LABELS = ("entailment", "neutral", "contradiction")
SYMPTOMS = ["pain", "fever", "cough", "nausea"]
REDUCED = ["reduced", "lowered"]
INCREASED = ["increased", "raised"]
PREMISES = [
    "{drug} {did} {symptom} more than {other} in {patients} patients .",
    "In {patients} patients {symptom} was {did} by {drug} but not by {other} .",
    "{drug} {did} {symptom} in {patients} patients with {disease} .",
]
PRICES = [
    "The {person} {did} the price of {food} .",
    "The price of {food} was {did} by the {person} .",
    "The price of {food} was {level} than before .",
    "The {food} of the {person} had a {level} price .",
]
ILLNESSES = [
    "The {food} {did} {symptom} in the {person} .",
    "In the {person} , {symptom} was {did} by {food} and not by sleep .",
    "The {food} did not {opposite} {symptom} .",
    "{symptom} was {level} with {food} .",
]
EFFECTS = [
    "{drug} {did} {symptom} .",
    "{symptom} was {did} by {drug} .",
    "The treatment {did} {symptom} .",
    "{symptom} was {did} .",
]
NEGATIONS = ["{drug} did not {do} {symptom} .", "{symptom} was not {did} ."]
UNMENTIONED = [
    "{drug} was taken twice a day .",
    "The trial was run in four countries .",
    "{drug} also reduced {symptom} .",
    "{drug} also increased {symptom} .",
    "The patients had tried {other} before .",
    "The patients were older than {age} years .",
]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A finding: `drug` made `symptom` less (`down`) or more than `other` did."""

    drug: str
    other: str
    disease: str
    symptom: str
    down: bool
    patients: int


def draw_trial(rng: np.random.Generator, names: Names) -> Trial:
    known = shared_names("Chemical")[:TRIAL_DRUGS]
    drugs = [known[index][0] for index in rng.choice(TRIAL_DRUGS, size=2, replace=False)]
    return Trial(
        drug=drugs[0],
        other="placebo" if rng.random() < 0.6 else drugs[1],
        disease=" ".join(names.draw("Disease")),
        symptom=pick(rng, SYMPTOMS),
        down=bool(rng.random() < 0.5),
        patients=int(rng.integers(2, 60)) * 10,
    )


def premise(trial: Trial, rng: np.random.Generator) -> Words:
    """One sentence that states the whole finding."""
    return _state(pick(rng, PREMISES), trial, trial.down, rng)


def story(rng: np.random.Generator) -> list[Words]:
    """Two to four everyday sentences that tell one change, of a price or an illness, in other words."""
    templates = PRICES if rng.random() < 0.4 else ILLNESSES
    down = bool(rng.random() < 0.5)
    same, opposite = (REDUCED, "increase") if down else (INCREASED, "reduce")
    slots = {name: pick(rng, VOCABULARY[name]) for name in ("person", "food")}
    slots |= {"symptom": pick(rng, SYMPTOMS), "level": "lower" if down else "higher", "opposite": opposite}
    chosen = [pick(rng, templates) for _ in range(rng.integers(2, 5))]
    return [tuple(template.format(did=pick(rng, same), **slots).split()) for template in chosen]


def hypothesis(trial: Trial, label: str, rng: np.random.Generator) -> Words:
    """A sentence that follows from the trial, contradicts it, or is left open by it."""
    claims, weights = zip(*CLAIMS[label], strict=True)
    claim = claims[int(rng.choice(len(claims), p=weights))]
    return claim(trial, label, rng)


def _effect(trial: Trial, label: str, rng: np.random.Generator) -> Words:
    """The direction of the effect, active or passive."""
    stated, down = _turned(trial, label, rng)
    return _state(pick(rng, EFFECTS), stated, down, rng)


def _negated(trial: Trial, label: str, rng: np.random.Generator) -> Words:
    """The effect with a negation, which turns the direction once more."""
    stated, down = _turned(trial, label, rng)
    return _state(pick(rng, NEGATIONS), stated, not down, rng)


def _compared(trial: Trial, label: str, rng: np.random.Generator) -> Words:
    """How much of the symptom there was with the drug or without it."""
    stated, down = _turned(trial, label, rng)
    if rng.random() < 0.5:
        return _state("{symptom} was {level} with {drug} .", stated, down, rng)
    return _state("{symptom} was {level} without {drug} .", stated, not down, rng)


def _hypernym(trial: Trial, label: str, rng: np.random.Generator) -> Words:
    """The effect without names; left open where it is said of people whom the trial did not treat."""
    people = "healthy volunteers" if label == "neutral" else "patients"
    down = trial.down != (label == "contradiction")
    return _state(f"A medicine {{did}} a symptom in {people} .", trial, down, rng)


def _counted(trial: Trial, label: str, rng: np.random.Generator) -> Words:
    """More or fewer patients than a number on the right or the wrong side of the true one."""
    more = bool(rng.random() < 0.5)
    below = more != (label == "contradiction")
    bound = int(trial.patients * (rng.uniform(0.3, 0.7) if below else rng.uniform(1.5, 2.5))) + 1
    return (*f"{'More' if more else 'Fewer'} than {bound} patients took part .".split(),)


def _unmentioned(trial: Trial, label: str, rng: np.random.Generator) -> Words:
    """Something that the premise does not speak of."""
    return _state(pick(rng, UNMENTIONED), _other_symptom(trial, rng), trial.down, rng)


def _turned(trial: Trial, label: str, rng: np.random.Generator) -> tuple[Trial, bool]:
    """The trial and the direction to state so that the label holds; neutral speaks of another symptom."""
    if label == "neutral":
        return _other_symptom(trial, rng), bool(rng.random() < 0.5)
    return trial, trial.down == (label == "entailment")


def _other_symptom(trial: Trial, rng: np.random.Generator) -> Trial:
    return replace(trial, symptom=pick(rng, [symptom for symptom in SYMPTOMS if symptom != trial.symptom]))


def _state(template: str, trial: Trial, down: bool, rng: np.random.Generator) -> Words:
    """The words of a template about a trial, its verbs in the direction `down`."""
    text = template.format(
        **asdict(trial),
        did=pick(rng, REDUCED if down else INCREASED),
        do="reduce" if down else "increase",
        level="lower" if down else "higher",
        age=20 + int(rng.integers(5)) * 10,
    )
    return tuple(text.split())


CLAIMS: dict[str, list[tuple[Callable[[Trial, str, np.random.Generator], Words], float]]] = {
    "entailment": [(_effect, 0.55), (_negated, 0.1), (_compared, 0.15), (_hypernym, 0.12), (_counted, 0.08)],
    "neutral": [(_effect, 0.35), (_negated, 0.05), (_compared, 0.1), (_hypernym, 0.05), (_unmentioned, 0.45)],
    "contradiction": [(_effect, 0.5), (_negated, 0.2), (_compared, 0.15), (_hypernym, 0.1), (_counted, 0.05)],
}
