"""Every metric, named as published: one entry each, from which its value, its interval and its names come.

A `Score` compares predictions with gold labels; scoring.py computes it, terms.py keeps it by example. Other
metrics are measured elsewhere: attention by analysis/attention, similarity by analysis/similarity.py,
language models and generated text by jobs/; their entries say what a row of that name holds.
"""

from microtome.analysis.metrics import classification, formulas, regression
from microtome.analysis.metrics.labels import ClassLabels, NumberLabels, SetLabels
from microtome.analysis.metrics.metric import UNBOUNDED, Metric, OfOneClass, Score, Sums, Whole
from microtome.analysis.metrics.tags import TagLabels

# The first of these that a task has is what it is compared by.
PRIMARY = ("entity_f1", "pearson", "example_f1", "micro_f1", "accuracy")

# What the predictions of a probe are scored by, by the form of the labels; the first is the primary metric.
PROBE_METRICS = {
    "words": ("token_macro_f1", "token_micro_f1", "entity_f1_lenient", "entity_f1_relaxed"),
    "numbers": ("pearson", "spearman"),
    "sets": ("micro_f1", "macro_f1", "weighted_f1", "samples_f1", "exact_match"),
    "relations": ("micro_f1", "micro_precision", "micro_recall", "macro_f1", "accuracy"),
    "classes": ("accuracy", "macro_f1"),
}
PROBE_PRIMARY = tuple(dict.fromkeys(metrics[0] for metrics in PROBE_METRICS.values()))

METRICS: dict[str, Metric] = {
    # Entities: exact span, strict IOB2, pooled over types.
    "entity_f1": Score(
        "entity F1, exact span and type (strict IOB2), micro",
        "entity F1",
        hub_type="f1",
        labels=(TagLabels,),
        definition=Sums(classification.pooled, formulas.f1),
    ),
    "entity_precision": Score(
        "entity precision, exact span and type (strict IOB2), micro",
        hub_type="precision",
        labels=(TagLabels,),
        definition=Sums(classification.pooled, formulas.precision),
    ),
    "entity_recall": Score(
        "entity recall, exact span and type (strict IOB2), micro",
        hub_type="recall",
        labels=(TagLabels,),
        definition=Sums(classification.pooled, formulas.recall),
    ),
    "entity_f1_untyped": Score(  # as BLURB scores JNLPBA
        "entity F1, exact span, types ignored",
        "entity F1, untyped",
        hub_type="f1",
        labels=(TagLabels,),
        definition=Sums(classification.pooled_untyped, formulas.f1),
    ),
    # Less strict, to compare with scores of others; of classes of words, runs of one class are entities.
    "entity_f1_lenient": Score(
        "entity F1, exact span and type, lenient tags (conlleval, seqeval's default), micro",
        "entity F1, lenient tags",
        hub_type="f1",
        labels=(TagLabels, ClassLabels),
        definition=Sums(classification.pooled_lenient, formulas.f1),
    ),
    "entity_f1_relaxed": Score(
        "entity F1, overlapping span and the same type (relaxed), micro",
        "entity F1, overlap",
        hub_type="f1",
        labels=(TagLabels, ClassLabels),
        definition=Sums(classification.overlapping, formulas.overlap_f1),
    ),
    # Words: Bonfigli et al. 2024. Micro over all classes equals the share of right words.
    "token_macro_f1": Score(
        "token macro F1, B- and I- merged, O included",
        "token macro F1",
        hub_type="f1",
        labels=(TagLabels, ClassLabels),
        definition=Sums(classification.by_word_class_averaged, formulas.macro_f1),
    ),
    "token_micro_f1": Score(
        "token micro F1, B- and I- merged, O included",
        "token micro F1",
        hub_type="f1",
        labels=(TagLabels, ClassLabels),
        definition=Sums(classification.right_words, formulas.f1),
    ),
    # One class, or any number of classes, of a text, a pair of texts or a pair of mentions.
    "accuracy": Score(
        "accuracy",
        hub_type="accuracy",
        labels=(ClassLabels,),
        definition=Sums(classification.right_units, formulas.mean),
    ),
    "exact_match": Score(
        "share of examples with exactly the gold classes",
        hub_type="exact_match",
        labels=(SetLabels,),
        definition=Sums(classification.right_units, formulas.mean),
    ),
    "micro_f1": Score(
        "micro F1 (of a relation task: over the positive classes)",
        "micro F1",
        hub_type="f1",
        labels=(ClassLabels, SetLabels),
        definition=Sums(classification.pooled, formulas.f1),
    ),
    "micro_precision": Score(
        "micro precision over the positive classes",
        hub_type="precision",
        labels=(ClassLabels, SetLabels),
        definition=Sums(classification.pooled, formulas.precision),
    ),
    "micro_recall": Score(
        "micro recall over the positive classes",
        hub_type="recall",
        labels=(ClassLabels, SetLabels),
        definition=Sums(classification.pooled, formulas.recall),
    ),
    "macro_f1": Score(
        "macro F1",
        "macro F1",
        hub_type="f1",
        labels=(ClassLabels, SetLabels),
        definition=Sums(classification.by_class_averaged, formulas.macro_f1),
    ),
    "weighted_f1": Score(
        "F1 over classes, weighted by support",
        "weighted F1",
        hub_type="f1",
        labels=(ClassLabels, SetLabels),
        definition=Sums(classification.by_class, formulas.weighted_f1),
    ),
    "samples_f1": Score(
        "F1 of each example's classes, averaged",
        "samples F1",
        hub_type="f1",
        labels=(SetLabels,),
        definition=Sums(classification.f1_of_unit, formulas.mean),
    ),
    # Documents (BLUE, Hallmarks of Cancer): the classes of a document are those of all its texts.
    "example_f1": Score(
        "example-based F1 over documents that have a class",
        "example F1",
        hub_type="f1",
        labels=(SetLabels,),
        definition=Sums(classification.precision_and_recall, formulas.f1_of_means, whole_examples=True),
    ),
    "example_precision": Score(
        "example-based precision over documents that have a class",
        hub_type="precision",
        labels=(SetLabels,),
        definition=Sums(classification.precision_and_recall, formulas.mean_precision, whole_examples=True),
    ),
    "example_recall": Score(
        "example-based recall over documents that have a class",
        hub_type="recall",
        labels=(SetLabels,),
        definition=Sums(classification.precision_and_recall, formulas.mean_recall, whole_examples=True),
    ),
    # Numbers.
    "pearson": Score(
        "Pearson correlation",
        bounds=(-1, 1),
        hub_type="pearsonr",
        labels=(NumberLabels,),
        definition=Sums(regression.products, formulas.correlation),
    ),
    "spearman": Score(
        "Spearman rank correlation",
        bounds=(-1, 1),
        hub_type="spearmanr",
        labels=(NumberLabels,),
        definition=Whole(regression.rank_correlation),
    ),
    # One class of several; of tags, one type of entities.
    "class_precision": Score(
        "precision of one class",
        "precision",
        labels=(TagLabels, ClassLabels, SetLabels),
        definition=OfOneClass(formulas.precision),
    ),
    "class_recall": Score(
        "recall of one class",
        "recall",
        labels=(TagLabels, ClassLabels, SetLabels),
        definition=OfOneClass(formulas.recall),
    ),
    "class_f1": Score(
        "F1 of one class",
        "F1",
        labels=(TagLabels, ClassLabels, SetLabels),
        definition=OfOneClass(formulas.f1),
    ),
    "class_support": Score(
        "gold examples of one class",
        "support",
        unit="examples",
        bounds=(0, UNBOUNDED),
        higher_is_better=None,
        labels=(TagLabels, ClassLabels, SetLabels),
        definition=OfOneClass(formulas.support),
    ),
    "confusion": Metric(
        "gold examples of one class that are predicted as this class",
        "confusion",
        unit="examples",
        bounds=(0, UNBOUNDED),
    ),
    # What a score of a task is read beside.
    "also_in_train": Metric("share of the texts that are training texts word for word", "in train"),
    "first_text_in_train": Metric(
        "share of the pairs whose first text is that of a training pair", "first text in train"
    ),
    "truncated_words": Metric(
        "words beyond max_length, counted as missed", unit="words", bounds=(0, UNBOUNDED)
    ),
    "truncated_share": Metric("share of the words that are beyond max_length"),
    "truncated_entities": Metric(
        "gold entities, or mentions of a relation, with a word beyond max_length",
        unit="entities",
        bounds=(0, UNBOUNDED),
    ),
    "truncated_entity_share": Metric(
        "share of the gold entities, or mentions of a relation, with a word beyond max_length"
    ),
    "mentions_cut": Metric(
        "relations whose mentions do not fit into max_length together", unit="examples", bounds=(0, UNBOUNDED)
    ),
    "majority_accuracy": Metric("accuracy of always answering the most frequent class"),
    "majority_macro_f1": Metric("macro F1 of always answering the most frequent class"),
    # What the score of a probe is read beside.
    "strength": Metric("inverse regularisation of the probe, chosen on dev", bounds=(0, UNBOUNDED)),
    "strength_at_end": Metric("1: a wider grid of strengths might do better"),
    "control_accuracy": Metric(
        "accuracy on the control task, a random label per word type (Hewitt & Liang 2019)"
    ),
    "selectivity": Metric(
        "accuracy minus that on the control task (Hewitt & Liang 2019)",
        bounds=(-1, 1),
        higher_is_better=True,
    ),
    "selectivity_over_majority": Metric(
        "accuracy above the majority label, minus the same of the control task",
        "selectivity over the majority",
        bounds=(-2, 2),
        higher_is_better=True,
    ),
    "primary_selectivity": Metric(
        "primary score above the majority label, minus the same of the control task",
        "selectivity in the primary metric",
        bounds=(-2, 2),
        higher_is_better=True,
    ),
    "seen_word_selectivity": Metric(
        "the same, of test words that the training words have",
        "selectivity on seen words",
        bounds=(-2, 2),
        higher_is_better=True,
    ),
    "unseen_word_selectivity": Metric(
        "the same, of test words that the training words do not have",
        "selectivity on unseen words",
        bounds=(-2, 2),
        higher_is_better=True,
    ),
    "random_label_accuracy": Metric("accuracy on a random label per example"),
    "random_label_selectivity": Metric(
        "accuracy minus that on a random label per example",
        "selectivity, random labels",
        bounds=(-1, 1),
        higher_is_better=True,
    ),
    "codelength": Metric(
        "online description length of the training labels, bits (Voita & Titov 2020)",
        unit="bits",
        bounds=(0, UNBOUNDED),
        higher_is_better=False,
    ),
    "prior_codelength": Metric(
        "online description length of the training labels by their frequencies alone, bits",
        unit="bits",
        bounds=(0, UNBOUNDED),
    ),
    "control_codelength": Metric(
        "online description length of the training labels of the control task, bits",
        unit="bits",
        bounds=(0, UNBOUNDED),
    ),
    "compression": Metric(
        "code by the frequencies of the labels over online codelength; 1: nothing gained",
        bounds=(0, UNBOUNDED),
        higher_is_better=True,
    ),
    "control_compression": Metric(
        "the same of the control task: what the probe memorises",
        "compression of the control task",
        bounds=(0, UNBOUNDED),
    ),
    "uniform_compression": Metric(
        "uniform code over online codelength (Voita & Titov 2020)",
        "compression against the uniform code",
        bounds=(0, UNBOUNDED),
        higher_is_better=True,
    ),
    "mix_weight": Metric("weight of a layer in a scalar mix", "weight"),
    "centre_of_gravity": Metric(
        "centre of gravity of the layer weights of a scalar mix (Tenney et al. 2019)",
        unit="layers",
        bounds=(0, UNBOUNDED),
    ),
    # Attention: how it changed, and where it goes.
    "cosine": Metric(
        "cosine of flattened attention maps, before and after", "cosine similarity", bounds=(-1, 1)
    ),
    "cosine_whole": Metric(
        "cosine of whole attention maps, before and after, special tokens included (Bonfigli et al. 2024)",
        "cosine similarity of whole maps",
        bounds=(-1, 1),
    ),
    "jensen_shannon": Metric(
        "Jensen-Shannon divergence of attention rows, before and after, over ln 2",
        "Jensen–Shannon divergence",
    ),
    "l1": Metric("L1 distance of attention rows, before and after", "L1 distance", bounds=(0, 2)),
    "entropy": Metric("entropy of attention rows over the log of their visible keys"),
    "distance": Metric("mean distance that is attended over, tokens", unit="tokens", bounds=(0, UNBOUNDED)),
    "to_special": Metric("attention to special tokens, share"),
    "to_previous": Metric("attention to the previous token, share"),
    "to_self": Metric("attention to the same token, share"),
    "to_next": Metric("attention to the next token, share"),
    "across_segments": Metric("attention to the other text, share"),
    "to_entities": Metric("attention to words of entities, share"),
    "to_sink": Metric("attention to no token, which a sink takes, share"),
    # Similarity of layers.
    "linear_cka": Metric(
        "linear CKA of hidden states, debiased (Kornblith et al. 2019)", "linear CKA", bounds=(-UNBOUNDED, 1)
    ),
    "rbf_cka": Metric(
        "centred kernel alignment, Gaussian kernels (Kornblith et al. 2019)", "CKA with Gaussian kernels"
    ),
    "rsa": Metric(
        "correlation of dissimilarities between tokens (Kriegeskorte et al. 2008)", "RSA", bounds=(-1, 1)
    ),
    # Language models and what they generate.
    "loss": Metric(
        "cross-entropy per predicted token, nats",
        unit="nats",
        bounds=(0, UNBOUNDED),
        higher_is_better=False,
        hub_type="loss",
    ),
    "perplexity": Metric("perplexity", bounds=(1, UNBOUNDED), higher_is_better=False, hub_type="perplexity"),
    "masked_perplexity": Metric(  # each token is predicted from both sides: never beside the one above
        "perplexity of masked tokens",
        "masked perplexity",
        bounds=(1, UNBOUNDED),
        higher_is_better=False,
        hub_type="perplexity",
    ),
    "token_accuracy": Metric(
        "share of predicted tokens that are right", higher_is_better=True, hub_type="accuracy"
    ),
    "rouge_1": Metric(
        "ROUGE-1: F1 of words shared with a reference, stemmed (Lin 2004)",
        "ROUGE-1",
        higher_is_better=True,
        hub_type="rouge",
    ),
    "rouge_2": Metric(
        "ROUGE-2: F1 of pairs of words shared with a reference, stemmed (Lin 2004)",
        "ROUGE-2",
        higher_is_better=True,
        hub_type="rouge",
    ),
    "rouge_l": Metric(
        "ROUGE-L: F1 of the longest word sequence in common with a reference, stemmed (Lin 2004)",
        "ROUGE-L",
        higher_is_better=True,
        hub_type="rouge",
    ),
    "generated_tokens": Metric("tokens per generated text", unit="tokens", bounds=(0, UNBOUNDED)),
    "distinct_2": Metric("distinct bigrams over bigrams, of generated text", "distinct bigrams"),
    "repeated_4grams": Metric("share of 4-grams of a generated text that it had before", "repeated 4-grams"),
}

SCORES: dict[str, Score] = {name: entry for name, entry in METRICS.items() if isinstance(entry, Score)}


def full_name(metric: str) -> str | None:
    """A metric in full; None for a name that has no entry."""
    return METRICS[metric].full_name if metric in METRICS else None


def short_name(metric: str) -> str:
    """A metric as it is written in running text."""
    return (METRICS[metric].short_name if metric in METRICS else "") or metric.replace("_", " ")
