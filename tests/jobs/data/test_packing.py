from itertools import chain

import numpy as np
import pytest

from microtome.jobs.data import packing
from microtome.jobs.data.encoding import special_tokens
from microtome.jobs.data.packing import pack
from microtome.jobs.demo.corpus import biomedical_text
from microtome.jobs.models.loading import load_tokenizer
from microtome.store.errors import InputError

ARCHITECTURES = ("bert", "gpt2", "biogpt")
SIZE = 12


@pytest.fixture(params=ARCHITECTURES)
def tokenizer(request, tiny_models):
    return load_tokenizer(tiny_models / request.param, request.param)


@pytest.fixture(scope="module")
def documents():
    return ["", "a", *biomedical_text(20, seed=4)]


def ids_of(tokenizer, documents):
    return [tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in documents]


def expected(tokenizer, texts, size):
    """Blocks made the plain way, in memory."""
    before, after = special_tokens(tokenizer)
    room = size - len(before) - len(after)
    pieces = [ids[start : start + room] for ids in texts for start in range(0, len(ids), room)]
    return [[*before, *piece, *after] for piece in pieces if len(piece) > 1]


def test_blocks_are_those_of_each_document(tokenizer, documents, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "BATCH_DOCUMENTS", 3)
    blocks = pack(iter(documents), tokenizer, SIZE, tmp_path / "ids")
    assert list(blocks) == expected(tokenizer, ids_of(tokenizer, documents), SIZE)
    assert len(blocks) > 20
    assert max(map(len, blocks)) == SIZE


def test_joined_documents_fill_every_block_but_the_last(tokenizer, documents, tmp_path):
    room = SIZE - sum(map(len, special_tokens(tokenizer)))
    separator = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    first, *others = [ids for ids in ids_of(tokenizer, documents) if ids]
    stream = first + list(chain.from_iterable([separator, *ids] for ids in others))
    blocks = pack(documents, tokenizer, SIZE, tmp_path / "ids", join=True)
    assert list(blocks) == expected(tokenizer, [stream], SIZE)
    assert {len(block) for block in blocks[:-1]} == {SIZE}
    assert blocks.tokens == len(stream) - (len(stream) % room == 1)


def test_a_last_piece_of_one_token_is_left_out(tokenizer, tmp_path):
    room = SIZE - sum(map(len, special_tokens(tokenizer)))
    text = " ".join(["a"] * 200)
    per_word = len(ids_of(tokenizer, [text])[0]) // 200
    assert per_word == 1, "the test needs a word of one token"
    for words, sizes in ((room, [room]), (room + 1, [room]), (room + 2, [room, 2])):
        for join in (False, True):
            blocks = pack([" ".join(["a"] * words)], tokenizer, SIZE, tmp_path / "ids", join=join)
            assert [len(block) - (SIZE - room) for block in blocks] == sizes
            assert blocks.tokens == sum(sizes)


def test_blocks_are_a_sequence_over_a_flat_file(tokenizer, documents, tmp_path):
    blocks = pack(documents, tokenizer, SIZE, tmp_path / "ids")
    whole = list(blocks)
    assert blocks[-1] == whole[-1]
    assert blocks[1:4] == whole[1:4]
    assert blocks[np.int64(2)] == whole[2]
    with pytest.raises(IndexError):
        blocks[len(blocks)]
    assert all(type(id) is int for id in whole[0])
    assert np.fromfile(tmp_path / "ids", np.uint32).size == blocks.tokens
    assert isinstance(blocks._ids, np.memmap)


def test_documents_are_tokenised_in_bounded_batches(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "BATCH_CHARACTERS", 10)
    taken = 0

    def stream():
        nonlocal taken
        for _ in range(6):
            taken += 1
            yield "a dose of it"

    batches = packing._batches(stream())
    assert next(batches) == ["a dose of it"]
    assert taken == 1
    assert len(pack(stream(), tokenizer, 64, tmp_path / "ids")) == 6


def test_what_cannot_be_packed_is_one_line(tokenizer, tmp_path):
    with pytest.raises(InputError, match="the corpus gives no block"):
        pack(["", "a"], tokenizer, SIZE, tmp_path / "ids")
    with pytest.raises(InputError, match="the corpus gives no block"):
        pack([], tokenizer, SIZE, tmp_path / "ids", join=True)
    added = sum(map(len, special_tokens(tokenizer)))
    with pytest.raises(
        InputError, match=f"blocks of {added + 1} tokens leave no room beside {added} special"
    ):
        pack(["a dose"], tokenizer, added + 1, tmp_path / "ids")


def test_joining_needs_a_token_to_join_with(tiny_models, tmp_path):
    tokenizer = load_tokenizer(tiny_models / "gpt2", "gpt2")
    tokenizer.eos_token = tokenizer.sep_token = None
    with pytest.raises(InputError, match="no end-of-text or separator token"):
        pack(["a dose"], tokenizer, SIZE, tmp_path / "ids", join=True)
