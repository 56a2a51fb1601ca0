"""A seeded synthetic corpus: general prose, biomedical abstracts, entity sentences and inference pairs.

Names of genes, chemicals and diseases are invented from syllables and typical affixes, so that a second draw
holds names that the first has not seen. A template is a sentence with slots in braces:

    {Gene} {Chemical} {Disease}        an entity of that type, of any form
    {Gene.short} {Other.short} ...     an abbreviation such as `TKR`, of a gene, disease or questionnaire
    {Gene.in} {Chemical.in}            a name such as `velorin`, shared by proteins and chemicals
    {Gene.word} {Other.word}           an everyday word that also names genes
    {organ} {group} ...                a word from VOCABULARY
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TypeVar

import numpy as np

Words = tuple[str, ...]
Tagged = tuple[Words, Words]
Item = TypeVar("Item")

ONSETS = [
    "b",
    "br",
    "c",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gr",
    "h",
    "k",
    "l",
    "m",
    "n",
    "p",
    "pr",
    "qu",
    "r",
    "s",
    "st",
    "t",
    "tr",
    "v",
    "z",
]
VOWELS = ["a", "e", "i", "o", "u", "ae", "io"]
CODAS = ["b", "d", "g", "l", "m", "n", "p", "r", "s", "t", "v", "x", "z"]
SHORT_LETTERS = "ABCDEFGHKLMNPRSTVX"
EVERYDAY = [
    "anchor",
    "basket",
    "bridge",
    "candle",
    "feather",
    "garden",
    "ladder",
    "lantern",
    "mirror",
    "pepper",
    "saddle",
    "thimble",
]

GENE_NOUNS = ["receptor", "receptor alpha", "kinase 2", "growth factor", "promoter", "binding protein"]

SHARED_NAMES = 80
SHARED_RATE = 0.6
TRIAL_DRUGS = 20
DOCUMENT_RATE = 0.6

VOCABULARY: dict[str, list[str]] = {
    "adjective": [
        "old",
        "small",
        "quiet",
        "broken",
        "green",
        "heavy",
        "empty",
        "wooden",
        "new",
        "narrow",
        "warm",
        "early",
    ],
    "animal": ["dog", "horse", "cat", "goat", "crow", "hen", "donkey"],
    "appears": ["appears", "seems", "remains", "was", "thought"],
    "day": ["Monday", "Tuesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "down": ["lower", "reduced", "suppressed"],
    "food": ["bread", "soup", "apples", "cheese", "rice", "honey", "onions"],
    "group": ["patients", "children", "women", "adults", "volunteers", "men"],
    "measure": ["expression", "activity", "levels", "binding", "phosphorylation"],
    "number": ["12", "20", "24", "36", "40", "48", "60", "84", "120", "150", "200", "320"],
    "organ": ["liver", "kidney", "heart", "lung", "brain", "skin", "bone", "colon"],
    "person": [
        "farmer",
        "teacher",
        "doctor",
        "neighbour",
        "sister",
        "driver",
        "nurse",
        "baker",
        "child",
        "brother",
    ],
    "place": [
        "market",
        "river",
        "station",
        "kitchen",
        "village",
        "clinic",
        "garden",
        "school",
        "field",
        "bridge",
    ],
    "regulates": ["activates", "inhibits", "binds", "represses", "phosphorylates", "stabilises"],
    "season": ["spring", "summer", "autumn", "winter"],
    "short": ["score", "scale", "questionnaire", "index", "committee"],
    "thing": [
        "table",
        "lantern",
        "door",
        "basket",
        "ladder",
        "letter",
        "clock",
        "boat",
        "mirror",
        "coat",
        "candle",
        "saddle",
    ],
    "treats": ["treats", "relieves", "prevents", "improves"],
    "verb": ["carried", "painted", "found", "lost", "repaired", "sold", "washed", "moved", "hid", "borrowed"],
    "when": ["yesterday", "today", "later", "again", "slowly", "alone", "together"],
}

GENERAL = [
    "The {person} {verb} the {adjective} {thing} near the {place} .",
    "On {day} the {person} walked to the {place} with a {animal} .",
    "In {season} the {place} was {adjective} and the {animal} slept beside the {thing} .",
    "Nobody knew why the {person} {verb} the {thing} {when} .",
    "The {animal} ate the {food} that the {person} had left by the {thing} .",
    '" We need more {food} " , said the {person} , and went to the {place} .',
    "After {number} days the {adjective} {thing} was lower than the {thing} in the {place} .",
    "The {person} did not like {food} , but the {person} was given {food} {when} .",
    "A {adjective} {animal} was seen by the {person} at the {place} in {season} .",
    "The {thing} was {verb} by the {person} with a {thing} and a {thing} .",
    "There were {number} {group} at the {place} , and {number} of the {group} were {adjective} .",
    "The {person} worked longer than the {person} , who was at the {place} {when} .",
    "The doctor reduced the number of letters and increased the number of {food} .",
    "In a study of the {place} , the {person} found more {food} than {food} .",
    "The {person} did not want more {group} near the {place} .",
]

ENTITY = [
    "{Gene} {measure} was {down} in {group} with {Disease} .",
    "We found that {Gene} {regulates} {Gene} in the {organ} .",
    "{Chemical} {treats} {Disease} in {group} .",
    "{number} {group} with {Disease} were treated with {Chemical} and {Chemical} .",
    "Mutations of {Gene} cause {Disease} , {Disease} and {Disease} of the {organ} .",
    "The {organ} {measure} of {Gene} {appears} {down} after {Chemical} .",
    "{Chemical} {regulates} {Gene} and not {Gene} .",
    "A dose of {number} mg {Chemical.in} was given to {group} with {Disease.short} .",
    "{Gene.in} phosphorylation by {Gene} was {down} in the {organ} .",
    "Oral {Chemical.in} {treats} {Disease} , whereas {Chemical} did not .",
    "The receptor of {Gene.in} {regulates} {Gene.short} .",
    "{group} with {Disease.short} had a {down} {Other.short} {short} .",
    "The {Other.short} {short} of {number} {group} was {down} .",
    "{Gene.short} {measure} in {Disease.short} {appears} {down} .",
    "Loss of {Gene.short} {appears} to cause {Disease} .",
    "{Gene.word} {measure} was {down} in the {organ} .",
    "The {Gene.word} gene {regulates} {Gene} .",
    "A {Other.word} was used by the {group} in the clinic .",
    "The {organ} of each child was drawn as a {Other.word} .",
    "{Chemical} {Chemical} combinations were given for {Disease} .",
    "{Gene} {Chemical} complexes were seen in the {organ} .",
    "{Disease} {Gene} mutations were found in {number} {group} .",
    "{Chemical.in} was measured in {number} {group} .",
    "{Gene.in} was measured in {number} {group} .",
    "{Disease.short} was studied in {number} {group} .",
    "{Gene.short} was studied in {number} {group} .",
]

EMPTY = [
    "{number} {group} were studied in {season} .",
    "The {organ} was examined {when} by the nurse and the doctor .",
    "Informed consent was given by all {group} .",
    "The dose was {down} after {number} days .",
    "No {measure} was found in the {organ} of the {group} .",
    "The {group} came to the clinic on {day} and were followed for {number} weeks .",
]

_SLOT = re.compile(r"\{(\w+)(?:\.(\w+))?\}")
TYPES = ("Gene", "Chemical", "Disease")


def general_text(documents: int, seed: int) -> list[str]:
    """Everyday documents of four to eight sentences, one string each; no entity is named in them."""
    rng = np.random.default_rng([seed, 1])
    texts = []
    for _ in range(documents):
        sentences = [_fill(_pick(rng, GENERAL), _Names(rng), rng)[0] for _ in range(rng.integers(2, 5))]
        texts.append(_prose(sentences + _story(rng)))
    return texts


def biomedical_text(documents: int, seed: int) -> list[str]:
    """Abstract-like documents, one string each: background on a few names, then a trial and what it means.

    Names recur within a document, and the last sentences restate the trial, as abstracts do.
    """
    rng = np.random.default_rng([seed, 2])
    texts = []
    for _ in range(documents):
        names = _Names(rng, remember=True)
        sentences = [_fill(_pick(rng, ENTITY), names, rng)[0] for _ in range(rng.integers(2, 4))]
        trial = _trial(rng, names)
        sentences.append(_premise(trial, rng))
        sentences += [_hypothesis(trial, "entailment", rng) for _ in range(rng.integers(1, 4))]
        texts.append(_prose(sentences))
    return texts


def ner_sentences(sentences: int, seed: int) -> list[Tagged]:
    """(words, IOB2 tags) of equal length, types Gene, Chemical, Disease; about one in six names nothing."""
    rng = np.random.default_rng([seed, 3])
    tagged = []
    for _ in range(sentences):
        templates = EMPTY if rng.random() < 1 / 6 else ENTITY
        tagged.append(_fill(_pick(rng, templates), _Names(rng), rng))
    return tagged


def nli_pairs(pairs: int, seed: int) -> list[tuple[str, str, str]]:
    """(premise, hypothesis, label) about invented trials; the labels' counts differ by one at most."""
    rng = np.random.default_rng([seed, 4])
    labels = [LABELS[index % len(LABELS)] for index in range(pairs)]
    rng.shuffle(labels)
    drawn = []
    for label in labels:
        trial = _trial(rng, _Names(rng))
        drawn.append((_prose([_premise(trial, rng)]), _prose([_hypothesis(trial, label, rng)]), label))
    return drawn


class _Names:
    """Names for the slots of one sentence, or of one document if `remember`.

    Some come from a list shared by every draw, in which few are frequent; the others are new each time.
    """

    def __init__(self, rng: np.random.Generator, remember: bool = False) -> None:
        self._rng = rng
        self._remember = remember
        self._seen: dict[str, Words] = {}

    def draw(self, kind: str) -> Words:
        """The words of a name of a type of TYPES."""
        if kind in self._seen and self._rng.random() < DOCUMENT_RATE:
            return self._seen[kind]
        if self._rng.random() < SHARED_RATE:
            rank = int(SHARED_NAMES * self._rng.random() ** 2)
            name = _shared_names(kind)[rank]
        else:
            name = _invent(kind, self._rng)
        if self._remember:
            self._seen[kind] = name
        return name


@cache
def _shared_names(kind: str) -> tuple[Words, ...]:
    """The names of a type that every draw may hold, the frequent ones first."""
    rng = np.random.default_rng([TYPES.index(kind), 5])
    return tuple(_invent(kind, rng) for _ in range(SHARED_NAMES))


def _pick(rng: np.random.Generator, choices: Sequence[Item]) -> Item:
    return choices[int(rng.integers(len(choices)))]


def _stem(rng: np.random.Generator, syllables: int = 2) -> str:
    """A pronounceable lower-case stem that ends in a consonant."""
    parts = [_pick(rng, ONSETS) + _pick(rng, VOWELS) for _ in range(syllables)]
    return "".join(parts) + _pick(rng, CODAS)


def _short(rng: np.random.Generator) -> str:
    return "".join(_pick(rng, SHORT_LETTERS) for _ in range(3))


def _ending_in(rng: np.random.Generator) -> str:
    return _stem(rng) + "in"


def _invent(kind: str, rng: np.random.Generator) -> Words:
    """A new name of a type of TYPES, one to four words."""
    return _pick(rng, _FORMS[kind])(rng)


def _gene_symbol(rng: np.random.Generator) -> Words:
    return (f"{_short(rng)}{rng.integers(1, 30)}",)


def _gene_enzyme(rng: np.random.Generator) -> Words:
    return (_stem(rng) + _pick(rng, ["ase", "kinase"]),)


def _gene_described(rng: np.random.Generator) -> Words:
    head = _pick(rng, [_ending_in(rng), _gene_symbol(rng)[0], _stem(rng) + "ine"])
    return (head, *_pick(rng, GENE_NOUNS).split())


def _chemical(rng: np.random.Generator) -> Words:
    return (_stem(rng) + _pick(rng, ["olide", "azine", "afen", "idone", "amet", "urate"]),)


def _chemical_salt(rng: np.random.Generator) -> Words:
    return (*_chemical(rng), _pick(rng, ["sodium", "hydrochloride", "phosphate"]))


def _chemical_acid(rng: np.random.Generator) -> Words:
    return (_stem(rng) + "ic", "acid")


def _disease(rng: np.random.Generator) -> Words:
    return (_stem(rng) + _pick(rng, ["itis", "osis", "emia", "oma", "opathy"]),)


def _disease_described(rng: np.random.Generator) -> Words:
    return (*_pick(rng, ["chronic", "acute", "severe", "type 2", "familial"]).split(), *_disease(rng))


def _disease_eponym(rng: np.random.Generator) -> Words:
    return (_stem(rng).capitalize(), _pick(rng, ["syndrome", "disease"]))


def _disease_of_organ(rng: np.random.Generator) -> Words:
    return (*_disease(rng), "of", "the", _pick(rng, VOCABULARY["organ"]))


_FORMS = {
    "Gene": [_gene_symbol, _gene_symbol, _gene_enzyme, _gene_described, _gene_described],
    "Chemical": [_chemical, _chemical, _chemical_salt, _chemical_acid],
    "Disease": [_disease, _disease, _disease_described, _disease_eponym, _disease_of_organ],
}


def _fill(template: str, names: _Names, rng: np.random.Generator) -> Tagged:
    """The words and IOB2 tags of a template whose slots are filled."""
    words: list[str] = []
    tags: list[str] = []
    for token in template.split():
        slot = _SLOT.fullmatch(token)
        kind, form = slot.groups() if slot else ("", None)
        filler = _filler(kind, form, names, rng) if slot else (token,)
        words += filler
        tags += [f"B-{kind}", *[f"I-{kind}"] * (len(filler) - 1)] if kind in TYPES else ["O"] * len(filler)
    words[0] = words[0] if tags[0] != "O" else words[0][0].upper() + words[0][1:]
    return tuple(words), tuple(tags)


def _filler(kind: str, form: str | None, names: _Names, rng: np.random.Generator) -> Words:
    """The words that fill the slot `{kind.form}`."""
    if form == "short":
        return (_short(rng),)
    if form == "in":
        return (_ending_in(rng),)
    if form == "word":
        return (_pick(rng, EVERYDAY),)
    return names.draw(kind) if kind in TYPES else (_pick(rng, VOCABULARY[kind]),)


def _prose(sentences: Iterable[Sequence[str]]) -> str:
    """Sentences as one string, punctuation joined to the word before it."""
    text = " ".join(" ".join(words) for words in sentences)
    return re.sub(r" ([.,)])", r"\1", text).replace("( ", "(")


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
class _Trial:
    """A finding: `drug` made `symptom` less (`down`) or more than `other` did."""

    drug: str
    other: str
    disease: str
    symptom: str
    down: bool
    patients: int


def _trial(rng: np.random.Generator, names: _Names) -> _Trial:
    known = _shared_names("Chemical")[:TRIAL_DRUGS]
    drugs = [known[index][0] for index in rng.choice(TRIAL_DRUGS, size=2, replace=False)]
    return _Trial(
        drug=drugs[0],
        other="placebo" if rng.random() < 0.6 else drugs[1],
        disease=" ".join(names.draw("Disease")),
        symptom=_pick(rng, SYMPTOMS),
        down=bool(rng.random() < 0.5),
        patients=int(rng.integers(2, 60)) * 10,
    )


def _premise(trial: _Trial, rng: np.random.Generator) -> Words:
    """One sentence that states the whole finding."""
    return _state(_pick(rng, PREMISES), trial, trial.down, rng)


def _story(rng: np.random.Generator) -> list[Words]:
    """Two to four everyday sentences that tell one change, of a price or an illness, in other words."""
    templates = PRICES if rng.random() < 0.4 else ILLNESSES
    down = bool(rng.random() < 0.5)
    same, opposite = (REDUCED, "increase") if down else (INCREASED, "reduce")
    slots = {name: _pick(rng, VOCABULARY[name]) for name in ("person", "food")}
    slots |= {"symptom": _pick(rng, SYMPTOMS), "level": "lower" if down else "higher", "opposite": opposite}
    chosen = [_pick(rng, templates) for _ in range(rng.integers(2, 5))]
    return [tuple(template.format(did=_pick(rng, same), **slots).split()) for template in chosen]


def _hypothesis(trial: _Trial, label: str, rng: np.random.Generator) -> Words:
    """A sentence that follows from the trial, contradicts it, or is left open by it."""
    claims, weights = zip(*CLAIMS[label], strict=True)
    claim = claims[int(rng.choice(len(claims), p=weights))]
    return claim(trial, label, rng)


def _effect(trial: _Trial, label: str, rng: np.random.Generator) -> Words:
    """The direction of the effect, active or passive."""
    stated, down = _turned(trial, label, rng)
    return _state(_pick(rng, EFFECTS), stated, down, rng)


def _negated(trial: _Trial, label: str, rng: np.random.Generator) -> Words:
    """The effect with a negation, which turns the direction once more."""
    stated, down = _turned(trial, label, rng)
    return _state(_pick(rng, NEGATIONS), stated, not down, rng)


def _compared(trial: _Trial, label: str, rng: np.random.Generator) -> Words:
    """How much of the symptom there was with the drug or without it."""
    stated, down = _turned(trial, label, rng)
    if rng.random() < 0.5:
        return _state("{symptom} was {level} with {drug} .", stated, down, rng)
    return _state("{symptom} was {level} without {drug} .", stated, not down, rng)


def _hypernym(trial: _Trial, label: str, rng: np.random.Generator) -> Words:
    """The effect without names; left open where it is said of people whom the trial did not treat."""
    people = "healthy volunteers" if label == "neutral" else "patients"
    down = trial.down != (label == "contradiction")
    return _state(f"A medicine {{did}} a symptom in {people} .", trial, down, rng)


def _counted(trial: _Trial, label: str, rng: np.random.Generator) -> Words:
    """More or fewer patients than a number on the right or the wrong side of the true one."""
    more = bool(rng.random() < 0.5)
    below = more != (label == "contradiction")
    bound = int(trial.patients * (rng.uniform(0.3, 0.7) if below else rng.uniform(1.5, 2.5))) + 1
    return (*f"{'More' if more else 'Fewer'} than {bound} patients took part .".split(),)


def _unmentioned(trial: _Trial, label: str, rng: np.random.Generator) -> Words:
    """Something that the premise does not speak of."""
    return _state(_pick(rng, UNMENTIONED), _other_symptom(trial, rng), trial.down, rng)


def _turned(trial: _Trial, label: str, rng: np.random.Generator) -> tuple[_Trial, bool]:
    """The trial and the direction to state so that the label holds; neutral speaks of another symptom."""
    if label == "neutral":
        return _other_symptom(trial, rng), bool(rng.random() < 0.5)
    return trial, trial.down == (label == "entailment")


def _other_symptom(trial: _Trial, rng: np.random.Generator) -> _Trial:
    return replace(trial, symptom=_pick(rng, [symptom for symptom in SYMPTOMS if symptom != trial.symptom]))


def _state(template: str, trial: _Trial, down: bool, rng: np.random.Generator) -> Words:
    """The words of a template about a trial, its verbs in the direction `down`."""
    text = template.format(
        **asdict(trial),
        did=_pick(rng, REDUCED if down else INCREASED),
        do="reduce" if down else "increase",
        level="lower" if down else "higher",
        age=20 + int(rng.integers(5)) * 10,
    )
    return tuple(text.split())


CLAIMS: dict[str, list[tuple[Callable[[_Trial, str, np.random.Generator], Words], float]]] = {
    "entailment": [(_effect, 0.55), (_negated, 0.1), (_compared, 0.15), (_hypernym, 0.12), (_counted, 0.08)],
    "neutral": [(_effect, 0.35), (_negated, 0.05), (_compared, 0.1), (_hypernym, 0.05), (_unmentioned, 0.45)],
    "contradiction": [(_effect, 0.5), (_negated, 0.2), (_compared, 0.15), (_hypernym, 0.1), (_counted, 0.05)],
}
