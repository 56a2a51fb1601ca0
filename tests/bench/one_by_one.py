"""The common way to keep hidden states, as a script: python one_by_one.py MODEL SENTENCES OUT

One sentence after the other goes through the model, without padding, and each becomes a dataset of an
HDF5 file: float32 [layers, words, width], of the last subword of each word. Toolkits for the analysis of
neurons are documented to work like this; a sentence takes one call of the tokenizer here, where some make one
for each word.
It imports nothing of microtome.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import h5py
import torch
from transformers import AutoModel, AutoTokenizer

MAX_LENGTH = 128


def extract(model_folder: str, sentences: str, out: str) -> None:
    """Write the hidden states of every line of a file, whose words have spaces between them."""
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModel.from_pretrained(model_folder, output_hidden_states=True).eval()
    with h5py.File(out, "w") as file, torch.no_grad():
        for number, line in enumerate(Path(sentences).read_text("utf-8").splitlines()):
            options = {"is_split_into_words": True, "truncation": True, "max_length": MAX_LENGTH}
            tokens = tokenizer(line.split(" "), return_tensors="pt", **options)
            states = torch.stack(model(**tokens).hidden_states)[:, 0]
            file.create_dataset(str(number), data=states[:, last_subwords(tokens.word_ids())].numpy())


def last_subwords(word_ids: Sequence[int | None]) -> list[int]:
    """Where the last subword of every word is; special tokens have no word."""
    return list({word: position for position, word in enumerate(word_ids) if word is not None}.values())


if __name__ == "__main__":
    extract(*sys.argv[1:])
