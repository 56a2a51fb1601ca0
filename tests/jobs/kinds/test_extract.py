from itertools import pairwise

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModel

from microtome.jobs.cli.main import main
from microtome.jobs.data.encoding import Encoder
from microtome.jobs.models import loading
from microtome.jobs.models.loading import load_tokenizer
from microtome.jobs.run.executor import run_job
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.source import find_data
from microtome.store.cache import writer
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.layout import plan_parts
from microtome.store.cache.reader import ActivationCache
from microtome.store.cache.writer import CacheWriter
from microtome.store.errors import InputError, MissingError

ARCHITECTURES = ["bert", "gpt2", "biogpt"]
FORMATS = list(PART_FORMATS)


def direct(folder, encoding, start=0, stop=None):
    """One unpadded sequence in plain transformers: hidden [l, T, d], attention [l, h, T, T]."""
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    inputs = {"input_ids": torch.tensor([encoding.input_ids[start:stop]])}
    if model.config.model_type == "bert":
        inputs["token_type_ids"] = torch.tensor([encoding.segment_ids[start:stop]])
    with torch.inference_mode():
        output = model(**inputs, output_hidden_states=True, output_attentions=True)
    return torch.cat(output.hidden_states).numpy(), torch.cat(output.attentions).numpy()


@pytest.fixture
def encodings(small_tasks, tiny_models):
    def encode(kind, name, separately=False):
        encoder = Encoder(load_tokenizer(tiny_models / name), max_length=48)
        examples = find_data(load_task(str(small_tasks[kind]))).read("test")
        method = encoder.encode_separately if separately else encoder.encode
        return [method(example) for example in examples]

    return encode


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["ner", "nli"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rows_equal_a_direct_unpadded_forward_pass(bench, tiny_models, encodings, name, kind, form):
    job = bench.extract(
        kind, tiny_models / name, dtype="float32", format=form, batch_tokens=200, part_megabytes=1
    )
    cache = ActivationCache(bench.run(job).path)
    assert cache.causal == (name != "bert")
    assert (cache.layers, cache.heads, cache.dim, cache.examples) == (2, 2, 16, 30)
    for example, encoding in enumerate(encodings(kind, name)):
        begin, end = cache.offsets[example], cache.offsets[example + 1]
        assert cache.input_ids[begin:end].tolist() == encoding.input_ids
        assert cache.word_ids[begin:end].tolist() == encoding.word_ids
        assert cache.segment_ids[begin:end].tolist() == encoding.segment_ids
        assert cache.special_mask[begin:end].tolist() == encoding.special_mask
        hidden, attention = direct(tiny_models / name, encoding)
        for layer in range(3):
            np.testing.assert_allclose(cache.hidden(layer, example), hidden[layer], atol=1e-4)
        for layer in range(2):
            found = cache.attention(layer, example)
            np.testing.assert_allclose(found, attention[layer], atol=1e-4)
            np.testing.assert_allclose(found.sum(-1), 1, atol=1e-3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_layers_differ(bench, tiny_models, name):
    cache = ActivationCache(bench.run(bench.extract("ner", tiny_models / name, keep=["hidden"])).path)
    layers = [cache.hidden(layer).astype(np.float32) for layer in range(3)]
    for one, other in pairwise(layers):
        assert np.abs(one - other).mean() > 0.01


def test_half_precision_is_within_rounding(bench, tiny_models, encodings):
    cache = ActivationCache(bench.run(bench.extract("ner", tiny_models / "gpt2")).path)
    assert cache.dtype == np.float16
    hidden, attention = direct(tiny_models / "gpt2", encodings("ner", "gpt2")[7])
    np.testing.assert_allclose(cache.hidden(2, 7), hidden[2], rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(cache.attention(1, 7), attention[1], rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_texts_encoded_separately_never_see_each_other(bench, tiny_models, encodings, name):
    job = bench.extract("nli", tiny_models / name, keep=["hidden"], segments="separate", dtype="float32")
    cache = ActivationCache(bench.run(job).path)
    for example in (0, 9):
        encoding = encodings("nli", name, separately=True)[example]
        cut = encoding.sequences[0]
        first, _ = direct(tiny_models / name, encoding, 0, cut)
        hidden = cache.hidden(2, example)
        np.testing.assert_allclose(hidden[:cut], first[2], atol=1e-4)
        second, _ = direct(tiny_models / name, encoding, cut)
        np.testing.assert_allclose(hidden[cut:], second[2], atol=1e-4)


def test_separate_texts_have_no_common_attention(bench, tiny_models):
    with pytest.raises(InputError, match="separate keeps hidden states only"):
        bench.extract("nli", tiny_models / "bert", segments="separate")


def test_labels_of_words_and_of_pairs(bench, tiny_models):
    task = load_task(str(bench.tasks["ner"]))
    tags = [tag for example in find_data(task).read("test") for tag in example.label]
    cache = ActivationCache(bench.run(bench.extract("ner", tiny_models / "bert", keep=["hidden"])).path)
    assert [cache.description.classes[label] for label in cache.labels] == tags
    assert cache.word_offsets[-1] == len(tags)
    pairs = find_data(load_task(str(bench.tasks["nli"]))).read("test")
    cache = ActivationCache(bench.run(bench.extract("nli", tiny_models / "bert", keep=["hidden"])).path)
    assert [cache.description.classes[label] for label in cache.labels] == [
        example.label for example in pairs
    ]


def test_a_sample_is_the_same_for_every_model(bench, tiny_models):
    rows = []
    for name in ARCHITECTURES:
        job = bench.extract("ner", tiny_models / name, keep=["hidden"], examples=7)
        rows.append(ActivationCache(bench.run(job).path).example_data.rows.tolist())
    assert rows[0] == rows[1] == rows[2]
    assert len(set(rows[0])) == 7
    assert rows[0] != list(range(7))


def test_chosen_layers(bench, tiny_models):
    job = bench.extract("ner", tiny_models / "bert", hidden_layers=[0, 2], attention_layers=[1])
    cache = ActivationCache(bench.run(job).path)
    assert cache.layout.hidden_layers == (0, 2)
    whole = ActivationCache(bench.run(bench.extract("ner", tiny_models / "bert")).path)
    for layer in (0, 2):
        np.testing.assert_array_equal(cache.hidden(layer), whole.hidden(layer))
    np.testing.assert_array_equal(cache.attention(1, 4), whole.attention(1, 4))
    for read in (lambda: cache.hidden(1), lambda: cache.attention(0, 0)):
        with pytest.raises(MissingError, match="was not kept"):
            read()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden_layers": [3]}, "hidden layer 3 does not exist: this model has 0..2"),
        ({"attention_layers": [2]}, "attention layer 2 does not exist: this model has 0..1"),
    ],
)
def test_a_layer_that_the_model_lacks_fails_the_job_and_leaves_nothing(bench, tiny_models, options, said):
    job = bench.extract("ner", tiny_models / "bert", **options)
    error, _ = run_job(job, bench.store.root)
    assert error == said
    assert bench.store.find(job.request) is None
    assert not (bench.store.root / ".staging").exists()


def test_only_what_a_reader_can_see_is_part_of_the_identity(bench, tiny_models):
    def id_of(**options):
        return bench.extract("ner", tiny_models / "bert", **options).id

    unseen = [
        {"batch_tokens": 99},
        {"keep": ["attention", "hidden"]},
        {"format": "hdf5"},
        {"compression": "zstd"},
        {"part_megabytes": 1},
        {"max_length": 48},  # the task's own
        {"sample_seed": 7},  # of no sample
    ]
    assert {id_of(**options) for options in unseen} == {id_of()}
    assert id_of(hidden_layers=[2, 0]) == id_of(hidden_layers=[0, 2])
    seen = [
        {},
        {"dtype": "float32"},
        {"max_length": 40},
        {"examples": 5},
        {"examples": 5, "sample_seed": 7},
        {"hidden_layers": [0, 2]},
        {"keep": ["hidden"]},
    ]
    assert len({id_of(**options) for options in seen}) == len(seen)


def test_a_cache_in_another_format_is_the_cache_that_is_asked_for(bench, tiny_models, small_tasks):
    options = [
        "--checkpoint",
        str(tiny_models / "bert"),
        "--task",
        str(small_tasks["ner"]),
        "--keep",
        "hidden",
    ]
    made = CliRunner().invoke(main, ["extract", *options])
    assert made.exit_code == 0, made.output
    again = CliRunner().invoke(main, ["extract", *options, "--format", "hdf5", "--compression", "lz4"])
    assert again.exit_code == 0, again.output
    [artifact] = bench.store.list("extract")
    assert f"already done: {artifact.name}" in again.output
    remove = f"remove it first: microtome cache rm {artifact.id[:8]}"
    assert f"note: format of its parts is zarr; for hdf5, {remove}" in again.output
    assert f"note: compression of its parts is none; for lz4, {remove}" in again.output
    assert "note" not in CliRunner().invoke(main, ["extract", *options]).output


@pytest.mark.parametrize("first", ["zarr", "hdf5"])
def test_an_extraction_goes_on_in_the_form_that_was_begun(bench, tiny_models, monkeypatch, first):
    second = {"zarr": "hdf5", "hdf5": "zarr"}[first]
    model, shared = tiny_models / "bert", {"dtype": "float32"}
    monkeypatch.setattr(writer, "plan_parts", lambda sizes, size: plan_parts(sizes, size // 32))
    whole = bench.run(bench.extract("ner", model, format=first, part_megabytes=1, **shared))
    cache = ActivationCache(whole.path)
    expected = [cache.hidden(layer) for layer in range(3)]
    count = len(cache.manifest["outputs"]["cache"]["parts"])
    assert count > 1
    bench.store.remove(whole)
    written, write = [], CacheWriter._write

    def dies_after_one(writer, buffer, ready):
        if written:
            raise KeyboardInterrupt
        write(writer, buffer, ready)
        written.append(buffer.number)

    with monkeypatch.context() as patched:
        patched.setattr(CacheWriter, "_write", dies_after_one)
        with pytest.raises(KeyboardInterrupt):
            run_job(bench.extract("ner", model, format=first, part_megabytes=1, **shared), bench.store.root)
    again = bench.run(bench.extract("ner", model, format=second, part_megabytes=256, **shared))
    described = again.manifest["outputs"]["cache"]
    assert (described["format"], len(described["parts"])) == (first, count)
    cache = ActivationCache(again.path)
    for layer, values in enumerate(expected):
        np.testing.assert_array_equal(cache.hidden(layer), values)
    suffixes = {path.suffix for path in (again.path / "parts").iterdir()}
    assert suffixes == {{"zarr": ".zarr", "hdf5": ".h5"}[first]}


def test_text_never_enters_the_cache(bench, tiny_models):
    artifact = bench.run(bench.extract("ner", tiny_models / "bert", keep=["hidden"]))
    words = {w for e in find_data(load_task(str(bench.tasks["ner"]))).read("test") for w in e.texts[0]}
    long = [
        word.encode(code) for word in words if len(word) > 7 for code in ("utf-8", "utf-16-le", "utf-32-le")
    ]
    assert len(long) > 60
    for path in artifact.path.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            assert not any(word in raw for word in long)


@pytest.mark.parametrize(("keep", "said"), [("hidden", "3 hidden states"), ("attention", "2 attentions")])
def test_layers_that_are_not_as_the_config_says_are_refused(bench, tiny_models, monkeypatch, keep, said):
    real = loading.load_backbone

    def pooling(*args, **options):
        model = real(*args, **options)
        forward = model.forward

        def pooled(*args, **more):
            output = forward(*args, **more)
            if output.hidden_states:
                output.hidden_states = (*output.hidden_states[:-1], output.hidden_states[-1][:, ::2])
            if output.attentions:
                output.attentions = tuple(maps[:, :1] for maps in output.attentions)
            return output

        model.forward = pooled
        return model

    monkeypatch.setattr(loading, "load_backbone", pooling)
    job = bench.extract("nli", tiny_models / "bert", examples=2, keep=(keep,))
    error, _ = run_job(job, bench.store.root)
    assert error.startswith(f"the model returned {said}, one of them [")
    assert bench.store.find(job.request) is None
