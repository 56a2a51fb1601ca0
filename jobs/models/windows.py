"""Texts longer than a model takes: cut into windows that overlap, whose predictions are joined again."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from microtome.jobs.data.encoding import SPECIAL, Encoding


def mean_of_windows(logits: Sequence[np.ndarray]) -> np.ndarray:
    """float32 [classes]: every window of a text says as much as another."""
    return np.asarray(np.mean(logits, axis=0), np.float32)


def joined_windows(windows: Sequence[Encoding], logits: Sequence[np.ndarray]) -> tuple[Encoding, np.ndarray]:
    """The words of a text with their logits [tokens, classes]. A word that is in several windows is taken
    from the one where its nearer end is farthest away: there the model sees most of what is around it."""
    if len(windows) == 1:
        return windows[0], logits[0]
    best: dict[int, tuple[int, int]] = {}  # word -> tokens to the nearer end of the window, its number
    for number, window in enumerate(windows):
        last = len(window.word_ids) - 1
        for position, word in enumerate(window.word_ids):
            room = min(position, last - position)
            if word != SPECIAL and (word not in best or room > best[word][0]):
                best[word] = room, number
    tokens = [
        (word, number, position)
        for number, window in enumerate(windows)
        for position, word in enumerate(window.word_ids)
        if word != SPECIAL and best[word][1] == number
    ]
    tokens.sort(key=lambda token: token[0])  # stable: the subwords of a word stay in their order
    words = [word for word, _, _ in tokens]
    joined = replace(
        windows[0],
        input_ids=[windows[number].input_ids[position] for _, number, position in tokens],
        word_ids=words,
        segment_ids=[0] * len(words),
        special_mask=[False] * len(words),
        sequences=(len(words),),
        truncated_words=windows[0].truncated_words,
    )
    return joined, np.stack([logits[number][position] for _, number, position in tokens])
