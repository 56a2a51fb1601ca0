"""A bidirectional LSTM with a conditional random field over the words of a sentence.

The only analysis that needs torch; it is imported when a probe is fitted, not before.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from microtome.analysis.numerics.standardise import Standardiser, as_they_are
from microtome.analysis.probing.probes.probe import NETWORK, Probe, smoothed
from microtome.store.errors import InputError, model_packages

if TYPE_CHECKING:
    from torch import Tensor


class BilstmCrfProbe(Probe):
    """Bidirectional LSTM with a CRF over the words of sentences: tagging probe of Bonfigli et al. (2024).

    Takes all settings but `strength`: `width` units per direction, batches of `batch_size` sentences, Adam,
    and `epochs` passes over the sentences or more where that makes fewer than `fewest_steps` steps. The same
    seed gives the same network on the same CPU; the caller's random state of torch is left as it was.
    Features are standardised unless `standardise` says otherwise.
    """

    takes = (*NETWORK, "fewest_steps", "standardise")
    probabilistic = True
    regularised = False

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> None:
        sentences = _Sentences(groups)
        if y.dtype.kind == "f" or y.ndim != 1 or sentences.lengths.max(initial=0) < 2:
            raise InputError("the bilstm-crf probe tags the words of sentences; take another for this task")
        torch, crf = _libraries()
        self._rows = len(y)
        self._tags, numbers = np.unique(y, return_inverse=True)
        self._standard = Standardiser(x) if self.settings.standardise else as_they_are
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            self._network: dict[str, Any] = {
                "lstm": torch.nn.LSTM(x.shape[1], self.settings.width, batch_first=True, bidirectional=True),
                "linear": torch.nn.Linear(2 * self.settings.width, len(self._tags)),
                "crf": crf(len(self._tags), batch_first=True),
            }
        if len(self._tags) > 1:
            self._train(x, numbers, sentences)

    def _train(self, x: np.ndarray, tags: np.ndarray, sentences: "_Sentences") -> None:
        torch, _ = _libraries()
        settings, count = self.settings, len(sentences.lengths)
        optimizer = torch.optim.Adam(
            [parameter for module in self._network.values() for parameter in module.parameters()],
            lr=settings.learning_rate,
        )
        rng = np.random.default_rng(settings.seed)
        for _ in range(settings.passes(count, settings.fewest_steps)):
            batches = list(sentences.batches(settings.batch_size, rng))
            for number in rng.permutation(len(batches)):
                batch = batches[number]
                likelihood = self._sentence_log_likelihoods(x, tags, sentences, batch)
                optimizer.zero_grad()
                (-likelihood.mean()).backward()
                optimizer.step()

    def predict(self, x: np.ndarray, groups: np.ndarray) -> np.ndarray:
        torch, _ = _libraries()
        sentences = _Sentences(groups)
        predicted = np.empty(len(x), np.int64)
        with torch.inference_mode():
            for batch in sentences.batches(self.settings.batch_size):
                positions, mask = sentences.places(batch)
                best = self._network["crf"].decode(
                    self._emissions(x[positions], sentences.lengths[batch]), torch.from_numpy(mask)
                )
                predicted[positions[mask]] = np.concatenate(best)
        return self._tags[predicted]

    def _log_likelihood(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, classes: int) -> np.ndarray:
        """A sentence's is divided evenly over its words. Sentences with a tag that training did not have
        have the probability that smoothing gives to every sequence of tags."""
        torch, _ = _libraries()
        sentences = _Sentences(groups)
        numbers = np.minimum(np.searchsorted(self._tags, y), len(self._tags) - 1)
        known = np.logical_and.reduceat(self._tags[numbers] == y, sentences.starts)
        found = np.empty(len(sentences.lengths))
        with torch.inference_mode():
            for batch in sentences.batches(self.settings.batch_size):
                likelihood = self._sentence_log_likelihoods(x, numbers, sentences, batch)
                found[batch] = np.minimum(likelihood.numpy(), 0)
        found[~known] = -np.inf
        found = smoothed(found, sentences.lengths * np.log(classes), classes, self._rows)
        return np.repeat(found / sentences.lengths, sentences.lengths)

    def _sentence_log_likelihoods(
        self, x: np.ndarray, tags: np.ndarray, sentences: "_Sentences", batch: np.ndarray
    ) -> "Tensor":
        """Of the sentences of a batch [sentences]."""
        from torch import from_numpy

        positions, mask = sentences.places(batch)
        emissions = self._emissions(x[positions], sentences.lengths[batch])
        gold = from_numpy(tags[positions])
        return self._network["crf"](emissions, gold, from_numpy(mask), reduction="none")

    def _emissions(self, words: np.ndarray, lengths: np.ndarray) -> "Tensor":
        """Scores of the tags [sentences, words, tags] from padded word vectors, the longest first."""
        from torch import from_numpy
        from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

        packed = pack_padded_sequence(
            from_numpy(self._standard(words)), from_numpy(lengths), batch_first=True
        )
        states, _ = pad_packed_sequence(self._network["lstm"](packed)[0], batch_first=True)
        return self._network["linear"](states)


class _Sentences:
    """Where the words of each sentence are.

    starts   int64 [sentences], number of the first word
    lengths  int64 [sentences], in words
    """

    def __init__(self, groups: np.ndarray) -> None:
        _, self.starts, self.lengths = np.unique(groups, return_index=True, return_counts=True)

    def batches(self, size: int, rng: np.random.Generator | None = None) -> Iterator[np.ndarray]:
        """Sentence numbers, the longest first; `rng` shuffles those of one length."""
        order = np.arange(len(self.lengths)) if rng is None else rng.permutation(len(self.lengths))
        order = order[np.argsort(-self.lengths[order], kind="stable")]
        return (order[start : start + size] for start in range(0, len(order), size))

    def places(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Word numbers [sentences, words] of a batch and which of them are its own; the others repeat a
        sentence's first word."""
        columns = np.arange(self.lengths[batch].max())
        mask = columns < self.lengths[batch][:, None]
        return self.starts[batch][:, None] + np.where(mask, columns, 0), mask


def _libraries() -> tuple[Any, Any]:
    """torch and the class of the conditional random field."""
    with model_packages("the bilstm-crf probe"):
        import torch
        from torchcrf import CRF
    return torch, CRF
