"""Models by short name. Any hub id or local folder works as well."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ModelEntry:
    """A hub repository, and what its own files leave out."""

    hub: str
    tokenizer: dict[str, bool] = field(default_factory=dict)
    note: str = ""


MODELS: dict[str, ModelEntry] = {
    "bert": ModelEntry("bert-base-cased", note="general text, 12 layers, 768 wide"),
    "biobert": ModelEntry(
        "dmis-lab/biobert-v1.1",
        tokenizer={"do_lower_case": False},  # a cased vocabulary; its repository does not say so
        note="bert-base-cased, further pretrained on PubMed",
    ),
    "gpt2": ModelEntry("gpt2-medium", note="general text, causal, 24 layers, 1024 wide"),
    "biogpt": ModelEntry("microsoft/biogpt", note="PubMed from nothing, causal, 24 layers, 1024 wide"),
}
