import pytest
from transformers import AutoTokenizer

from microtome.jobs.data.encoding import Encoder
from microtome.jobs.data.examples import Example
from microtome.jobs.data.prompts import Prompts, template_about
from microtome.store.errors import InputError

TURNS = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
BRACKETS = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]"
    "{% else %} {{ m.content | trim }} .{% endif %}{% endfor %}"
)
LABELS = ("good", "not so good")
SHOTS = [
    (Example("s1", (("the", "drug", "helps"),), "good"), "good"),
    (Example("s2", (("no", "effect"),), "not so good"), "not so good"),
]
ASKED = Example("q", (tuple("headache's gone (5%) after the drug".split()),), "good")
TEXT = "Text: {} Category:"


@pytest.fixture
def encoder(tiny_models):
    return Encoder(AutoTokenizer.from_pretrained(tiny_models / "gpt2"), max_length=64)


def prompts(encoder, template="Text: {first} Category:", texts=1, **options):
    settings = {"begin": (), "positions": 600} | options
    return Prompts(encoder, template_about(template, texts, LABELS), LABELS, **settings)


def text_of(example):
    return TEXT.format(" ".join(example.texts[0]))


def test_shots_stand_before_the_question_as_in_one_text(encoder):
    ids, cut = prompts(encoder, shots=SHOTS).of(ASKED)
    shown = [f"{text_of(example)} {answer}" for example, answer in SHOTS]
    whole = "\n\n ".join([*shown, text_of(ASKED)])
    assert (ids, cut) == (encoder.tokenizer(f" {whole}")["input_ids"], 0)


@pytest.mark.parametrize("template", [TURNS, BRACKETS])
@pytest.mark.parametrize("shots", [[], SHOTS])
def test_a_chat_is_what_the_chat_template_makes_of_the_whole_conversation(encoder, template, shots):
    encoder.tokenizer.chat_template = template
    messages = []
    for example, answer in [*shots, (ASKED, None)]:
        messages.append({"role": "user", "content": text_of(example)})
        messages += [{"role": "assistant", "content": answer}] if answer else []
    made = prompts(encoder, shots=shots, chat=True)
    asked = {"add_generation_prompt": True, "tokenize": False}
    rendered = encoder.tokenizer.apply_chat_template(messages, **asked)
    assert made.of(ASKED) == (encoder.tokenizer(rendered, add_special_tokens=False)["input_ids"], 0)
    for label, ids in zip(LABELS, made.choices, strict=True):
        space = "" if template is TURNS else " "
        answered = encoder.tokenizer(f"{rendered}{space}{label}", add_special_tokens=False)["input_ids"]
        assert made.of(ASKED)[0] + ids == answered


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("template", ["Text: {first} Category:", "{first} Category:"])
@pytest.mark.parametrize("positions", [250, 300, 301, 302, 400])
def test_whatever_is_long_there_is_room_for_the_longest_label(encoder, chat, template, positions):
    encoder.tokenizer.chat_template = TURNS
    long = Example("l", (tuple(f"Word{number}" for number in range(200)),), "good")
    shots = [(long, "good"), SHOTS[1]]
    made = prompts(encoder, template, shots=shots, chat=chat, positions=positions)
    ids, cut = made.of(long)
    assert 0 < cut < 200
    assert positions - 25 < len(ids) + max(map(len, made.choices)) <= positions
    short, none = made.of(ASKED)
    assert none == 0 or len(short) > positions - 25


def test_the_labels_are_named_where_the_template_says_so(encoder):
    ids, _ = prompts(encoder, "{first} One of: {labels}.").of(ASKED)
    assert encoder.tokenizer.decode(ids).endswith("after the drug One of: good, not so good .")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "the model's tokenizer has no chat template"),
        ("{{ messages[0].content }}", "does not show every turn once and in order"),
    ],
)
def test_a_chat_that_the_tokenizer_has_no_form_for(encoder, template, message):
    encoder.tokenizer.chat_template = template or None
    with pytest.raises(InputError, match=message):
        prompts(encoder, shots=SHOTS, chat=True)


def test_shots_that_leave_no_room(encoder):
    with pytest.raises(InputError, match="shots and labels leave no room for a text in 20 positions"):
        prompts(encoder, shots=SHOTS * 4, positions=20)
