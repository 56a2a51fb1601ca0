"""The synthetic corpus, from a seed: general prose, biomedical abstracts, entity sentences, inference pairs.

No text is copied from anywhere.
"""

import numpy as np

from microtome.jobs.demo.names import Names, pick
from microtome.jobs.demo.templates import Tagged, fill, prose
from microtome.jobs.demo.trials import LABELS, draw_trial, hypothesis, premise, story

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


def general_text(documents: int, seed: int) -> list[str]:
    """Everyday documents of four to eight sentences, one string each; no entity is named in them."""
    rng = np.random.default_rng([seed, 1])
    texts = []
    for _ in range(documents):
        sentences = [fill(pick(rng, GENERAL), Names(rng), rng)[0] for _ in range(rng.integers(2, 5))]
        texts.append(prose(sentences + story(rng)))
    return texts


def biomedical_text(documents: int, seed: int) -> list[str]:
    """Abstract-like documents, one string each: background on a few names, then a trial and what it means.

    Names recur within a document, and the last sentences restate the trial, as abstracts do.
    """
    rng = np.random.default_rng([seed, 2])
    texts = []
    for _ in range(documents):
        names = Names(rng, remember=True)
        sentences = [fill(pick(rng, ENTITY), names, rng)[0] for _ in range(rng.integers(2, 4))]
        trial = draw_trial(rng, names)
        sentences.append(premise(trial, rng))
        sentences += [hypothesis(trial, "entailment", rng) for _ in range(rng.integers(1, 4))]
        texts.append(prose(sentences))
    return texts


def ner_sentences(sentences: int, seed: int) -> list[Tagged]:
    """(words, IOB2 tags) of equal length, types Gene, Chemical, Disease; about one in six names nothing."""
    rng = np.random.default_rng([seed, 3])
    tagged = []
    for _ in range(sentences):
        templates = EMPTY if rng.random() < 1 / 6 else ENTITY
        tagged.append(fill(pick(rng, templates), Names(rng), rng))
    return tagged


def nli_pairs(pairs: int, seed: int) -> list[tuple[str, str, str]]:
    """(premise, hypothesis, label) about invented trials; the labels' counts differ by one at most."""
    rng = np.random.default_rng([seed, 4])
    labels = [LABELS[index % len(LABELS)] for index in range(pairs)]
    rng.shuffle(labels)
    drawn = []
    for label in labels:
        trial = draw_trial(rng, Names(rng))
        drawn.append((prose([premise(trial, rng)]), prose([hypothesis(trial, label, rng)]), label))
    return drawn
