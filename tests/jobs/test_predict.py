import json

import pytest
from click.testing import CliRunner

from jobs.cli import main
from jobs.predict import entities


def ask(*arguments):
    result = CliRunner().invoke(main, ("predict", *map(str, arguments)))
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def test_entities_of_strict_iob2_with_characters_or_words():
    text = "IL-2 (p53) acts."
    tags = ["B-DNA", "I-DNA", "I-DNA", "O", "B-protein", "O", "I-protein", "O"]
    words = ["IL", "-", "2", "(", "p53", ")", "acts", "."]
    assert list(entities(tags, words, text)) == [
        {"type": "DNA", "start": 0, "end": 4, "text": "IL-2"},
        {"type": "protein", "start": 6, "end": 9, "text": "p53"},
    ]
    assert [e["words"] for e in entities(tags, words, None)] == [[0, 3], [4, 5]]


def test_tagging_plain_text_gives_offsets_into_it(bench, tiny_models, tmp_path):
    model = bench.run(bench.finetune("ner", tiny_models / "bert"))
    lines = ["Aspirin  treats (severe) headache.", "", "No more."]
    (tmp_path / "in.txt").write_text("\n".join(lines))
    rows = ask("--checkpoint", model.id, "--input", tmp_path / "in.txt")
    assert [row["id"] for row in rows] == ["1", "3"]
    for row in rows:
        for entity in row["entities"]:
            assert lines[int(row["id"]) - 1][entity["start"] : entity["end"]] == entity["text"]


def test_pairs_as_text_and_as_json_lines_get_the_same_answer(bench, tiny_models, tmp_path):
    model = bench.run(bench.finetune("nli", tiny_models / "gpt2"))
    (tmp_path / "in.txt").write_text("the drug helps\tit works\n")
    (tmp_path / "in.jsonl").write_text('{"id": "x", "text_a": "the drug helps", "text_b": "it works"}\n')
    [plain] = ask("--checkpoint", model.id, "--input", tmp_path / "in.txt")
    [row] = ask("--checkpoint", model.id, "--input", tmp_path / "in.jsonl")
    assert row == plain | {"id": "x"}
    assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("in.txt", "alone\n", "in.txt:1: expected two texts parted by a tab"),
        ("in.txt", "\n", "no text"),
        ("in.jsonl", '{"text_a": "x"}\n', "in.jsonl:1: no 'text_b'"),
        ("in.jsonl", "x\n", "in.jsonl:1: expected a JSON object"),
    ],
)
def test_what_cannot_be_read_is_one_line(bench, tiny_models, tmp_path, name, text, said):
    model = bench.run(bench.finetune("nli", tiny_models / "bert", fraction=0))
    (tmp_path / name).write_text(text)
    arguments = ("predict", "--checkpoint", model.id, "--input", str(tmp_path / name))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
