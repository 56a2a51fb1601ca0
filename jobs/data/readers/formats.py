"""What each format of a task's `data:` reads besides what every format has."""

ROLES = ("id", "text_a", "text_b", "words", "label", "document")  # what a row may be made of
_TEXTS = (
    *("columns.id", "columns.text_a", "columns.text_b", "columns.label", "columns.document"),
    "split_columns",
)
_LABELS = ("label_map", "target", "classes_joined_by", "decimal", "marks")
_TABLE = (*_TEXTS, *_LABELS, "encoding", "delimiter", "header")
_JSON = (*_TEXTS, "columns.words", *_LABELS, "encoding", "scheme")
_STANDOFF = ("label_map", "annotations", "pairs")

# A format that is not here takes all settings.
SETTINGS: dict[str, tuple[str, ...]] = {
    "bioc": (*_STANDOFF, "encoding"),
    "biosses": (),
    "blue-relation": ("columns.id", "columns.text_a", "columns.label", "columns.document", "label_map"),
    "boolean-classes": ("columns.id", "columns.text_a", "label_map", "encoding"),
    "brat": (*_STANDOFF, "encoding"),
    "chemprot": ("label_map",),
    "chemprot-parquet": ("label_map",),
    "conll": (
        *("columns.words", "columns.label", "entity", "label_map"),
        *("encoding", "delimiter", "scheme", "document_mark"),
    ),
    "covid-stop-reasons": ("label_map",),
    "csv": _TABLE,
    "ddi": ("label_map",),
    "hoc": ("label_map",),
    "i2b2-2010": ("label_map",),
    "json": (*_JSON, "record"),
    "jsonl": _JSON,
    "medsts": (),
    "nli4ct": ("label_map",),
    "parquet": (*_TEXTS, "columns.words", *_LABELS, "scheme"),
    "pubmedqa": ("label_map",),
    "share-clefe": ("entity",),
    "synthetic": (),
    "trials": ("label_map",),
    "tsv": (*_TABLE, "quoting"),
    "xml": (*_TEXTS, *_LABELS, "record"),
}
OPTIONAL = (
    *(
        "columns",
        "split_columns",
        "label_map",
        "target",
        "classes_joined_by",
        "decimal",
        "quoting",
        "entity",
        "marks",
        "encoding",
    ),
    *("delimiter", "header", "scheme", "document_mark", "record", "annotations", "pairs"),
)
DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
