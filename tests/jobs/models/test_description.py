import json

import pytest
import transformers
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.jobs.models.description import describe
from tests.jobs.models.families import FAMILIES, GROUPED


def facts_of(tmp_path, kind, **changes):
    transformers.AutoConfig.for_model(kind, **FAMILIES[kind] | changes).save_pretrained(tmp_path)
    return describe(tmp_path)


@pytest.mark.parametrize(
    ("kind", "key_value_heads", "sees", "attentions", "positions"),
    [
        ("bert", 4, "all tokens", "can be kept", 64),
        ("roberta", 4, "all tokens", "can be kept", 62),
        ("llama", 2, "what is before them", "can be kept", 64),
        ("falcon", 1, "what is before them", "can be kept", 64),
        ("t5", 4, "all tokens", "can be kept", "no limit"),
        ("bart", 4, "all tokens", "can be kept", 64),
        ("mamba", None, "what is before them", "none: their layers have no attention heads", "no limit"),
        ("gpt_oss", 2, "what is before them", "can be kept; rows sum to less than 1", 64),
    ],
)
def test_what_a_model_is_is_said_from_its_config(
    tmp_path, kind, key_value_heads, sees, attentions, positions
):
    facts = facts_of(tmp_path, kind)
    assert (facts["architecture"], facts["layers"], facts["width"]) == (kind, 3, 16)
    assert facts["attention heads"] == (None if kind == "mamba" else 4)
    assert facts["key-value heads"] == key_value_heads
    assert facts["tokens see"] == sees
    assert facts["attentions"].startswith(attentions)
    assert facts["positions"] == positions
    assert facts["part that is used"] == ("encoder" if kind in ("t5", "bart") else "all")
    assert facts["bytes of hidden states per 1,000 tokens"] == 4 * 16 * 2 * 1000


@pytest.mark.parametrize(("kind", "pairs"), [("bert", 128 * 128), ("llama", 128 * 129 // 2)])
def test_bytes_of_attentions_are_those_of_a_cache(tmp_path, kind, pairs):
    said = facts_of(tmp_path, kind)["bytes of attentions per 1,000 tokens, in texts of 128"]
    assert said == 3 * 4 * 2 * pairs * 1000 // 128


def test_what_cannot_be_used_says_why(tmp_path):
    transformers.AutoConfig.for_model("longformer", attention_window=4).save_pretrained(tmp_path)
    facts = describe(tmp_path)
    assert facts["can be used"].startswith("their attention is not that of every token to every token")
    assert facts["hidden states"] == facts["attentions"] == "none"


def test_it_is_printed_as_a_table_and_as_json(tmp_path):
    transformers.AutoConfig.for_model("llama", **GROUPED).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"never read")
    table = CliRunner().invoke(main, ["model", "show", str(tmp_path)])
    assert table.exit_code == 0, table.output
    assert "128,000" in table.output
    shown = json.loads(CliRunner().invoke(main, ["model", "show", str(tmp_path), "--format", "json"]).output)
    assert shown["key-value heads"] == 2
