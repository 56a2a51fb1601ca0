"""ROUGE (Lin 2004): how much of a reference text a generated one has, by the library rouge-score."""

from collections.abc import Sequence

from microtome.store.errors import model_packages

VARIANTS = {
    "rouge_1": "rouge1",
    "rouge_2": "rouge2",
    "rouge_l": "rougeL",
}  # our names -> those of the library


def rouge(texts: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """F1 of shared words, of shared pairs of words and of the longest common subsequence, between each text
    and its reference, stemmed, averaged over the texts; 0 for a text without a word."""
    with model_packages("ROUGE"):
        from rouge_score.rouge_scorer import RougeScorer
    scorer = RougeScorer(list(VARIANTS.values()), use_stemmer=True)
    pairs = zip(texts, references, strict=True)
    scores = [scorer.score(reference, text) for text, reference in pairs]
    return {
        name: sum(score[theirs].fmeasure for score in scores) / len(scores)
        for name, theirs in VARIANTS.items()
    }
