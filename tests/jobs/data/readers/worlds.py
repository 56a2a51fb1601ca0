"""A small corpus of every format: its files, what its spec says, and which file or folder is a split."""

import gzip
import json

ARTICLE = "Zinol blocks ABC1."
NLI = {
    "Type": "Comparison",
    "Section_id": "Results",
    "Primary_id": "N1",
    "Secondary_id": "N2",
    "Statement": "both worked",
    "Label": "Entailment",
}
TRIAL = {
    "protocolSection": {
        "identificationModule": {"nctId": "N1", "briefTitle": "A title"},
        "descriptionModule": {"briefSummary": "short"},
        "eligibilityModule": {"sex": "ALL"},
        "conditionsModule": {"conditions": ["pain"]},
        "armsInterventionsModule": {"interventions": [{"type": "DRUG", "name": "zinol"}]},
    }
}
DDI = """<?xml version="1.0"?>
<document id="d1"><sentence id="s1" text="Zinol and Zedol">
<entity id="e1" charOffset="0-4"/><entity id="e2" charOffset="10-14"/>
<pair id="p1" e1="e1" e2="e2" ddi="true" type="effect"/>
</sentence></document>
"""
PUBMED = {"QUESTION": "does it", "CONTEXTS": ["it does"], "final_decision": "yes"}
RELATED = {"id": "id", "text_a": "t", "label": "y"}
PAIRED = {"id": "id", "text_a": "a", "text_b": "b", "label": "y"}
BRAT = "T1\tDrug 0 5\tZinol\nT2\tGene 13 17\tABC1\nR1\tblocks Arg1:T1 Arg2:T2\n"
BIOC = """<?xml version="1.0"?>
<collection><source/><document><id>d1</id><passage><offset>0</offset><text>Zinol blocks ABC1.</text>
<annotation id="T1"><infon key="type">Drug</infon>
<location offset="0" length="5"/><text>Zinol</text></annotation>
<annotation id="T2"><infon key="type">Gene</infon>
<location offset="13" length="4"/><text>ABC1</text></annotation>
<relation id="R1"><infon key="type">blocks</infon>
<node refid="T1" role="a"/><node refid="T2" role="b"/></relation>
</passage></document></collection>
"""
NOTES = '<?xml version="1.0"?><notes><note id="1" y="no"><text>one word</text></note></notes>'
BITS = ",".join(f"{number}_0" for number in range(10))
TABLE = "id\ta\tb\ty\n1\tone\ttwo words\tno\n2\tthree\tfour\tyes\n"

WORLDS: dict[str, tuple[dict[str, str], dict, str]] = {  # files, spec, split
    "conll": ({"a.tsv": "one\tO\ntwo\tB-x\nthree\tI-x\n\nfour\tO\n"}, {}, "a.tsv"),
    "conll-gz": ({"a.tsv.gz": "one\tO\ntwo\tB-x\n\nfour\tO\n"}, {"format": "conll"}, "a.tsv.gz"),
    "tsv": ({"a.tsv": TABLE}, {"columns": PAIRED}, "a.tsv"),
    "tsv-csv": ({"a.tsv": TABLE}, {"format": "tsv", "columns": PAIRED, "quoting": "csv"}, "a.tsv"),
    "tsv-relation": (
        {"a.tsv": "id\tt\ty\n1\t<< Zinol >> blocks [[ ABC1 ]]\tyes\n"},
        {"format": "tsv", "columns": RELATED, "marks": "brackets"},
        "a.tsv",
    ),
    "jsonl": (
        {"a.jsonl": '{"id": 1, "a": "one", "b": "two", "y": "no"}\n{"id": 2, "a": "x", "b": "z", "y": "no"}'},
        {"columns": PAIRED},
        "a.jsonl",
    ),
    "jsonl-relation": (
        {"a.jsonl": '{"id": 1, "t": "[E1]Zinol[/E1] blocks [E2]ABC1[/E2].", "y": "yes"}\n'},
        {"format": "jsonl", "columns": RELATED, "marks": "tags"},
        "a.jsonl",
    ),
    "csv": ({"a.csv": TABLE.replace("\t", ",")}, {"columns": PAIRED}, "a.csv"),
    "json": (
        {"a.json": '[{"id": 1, "a": "one", "b": "two", "y": "no"}]'},
        {"columns": PAIRED},
        "a.json",
    ),
    "xml": (
        {"a.xml": NOTES},
        {"record": "note", "columns": {"id": "@id", "text_a": "text", "label": "@y"}},
        "a.xml",
    ),
    "brat": ({"train/d1.txt": ARTICLE, "train/d1.ann": BRAT}, {}, "train"),
    "brat-relations": (
        {"train/d1.txt": ARTICLE, "train/d1.ann": BRAT},
        {"format": "brat", "annotations": "relations"},
        "train",
    ),
    "bioc": ({"a.xml": BIOC}, {}, "a.xml"),
    "blue-relation": ({"a.tsv": "index\tsentence\tlabel\n1\t@GENE$ and @DRUG$ .\tno\n"}, {}, "a.tsv"),
    "boolean-classes": ({"a.csv": "text,x,y\none word,true,false\ntwo,false,false\n"}, {}, "a.csv"),
    "covid-stop-reasons": (
        {"a.csv": "nctid,why_stopped,covid19_explicit,restart_expected\nN1,pandemic,TRUE,NA\n"},
        {},
        "a.csv",
    ),
    "biosses": (
        {
            "a.tsv": "sentence_id\tsentence_1\tsentence_2\t"
            + "\t".join(f"annotator_{letter}" for letter in "abcde")
            + "\n1\tone\ttwo\t1\t2\t3\t4\t0\n"
        },
        {},
        "a.tsv",
    ),
    "medsts": ({"a.tsv": "index\tsentence1\tsentence2\tscore\n1\tone\ttwo\t2.5\n"}, {}, "a.tsv"),
    "hoc": ({"a.tsv": f"labels\tsentence\tindex\n{BITS}\tcells grow\t7_s0\n"}, {}, "a.tsv"),
    "chemprot": (
        {
            "x_abstracts.tsv": f"1\tA title.\t{ARTICLE}\n",
            "x_entities.tsv": "1\tT1\tCHEMICAL\t9\t14\tZinol\n1\tT2\tGENE-Y\t22\t26\tABC1\n",
            "x_relations.tsv": "1\tCPR:4\tY\tINHIBITOR\tArg1:T1\tArg2:T2\n",
        },
        {},
        "x_abstracts.tsv",
    ),
    "ddi": ({"Train/d1.xml": DDI}, {}, "Train"),
    "i2b2-2010": (
        {
            "train/txt/r.txt": "Aspirin eased the headache .\n",
            "train/concept/r.con": 'c="aspirin" 1:0 1:0||t="treatment"\nc="headache" 1:3 1:3||t="problem"\n',
            "train/rel/r.rel": 'c="aspirin" 1:0 1:0||r="TrIP"||c="headache" 1:3 1:3\n',
        },
        {},
        "train",
    ),
    "share-clefe": (
        {
            "train/text/n.txt": "The headache eased .\nNo fever .\n",
            "train/annotations/n.txt": "n.txt||Disease_Disorder||C1||4||12\n",
        },
        {},
        "train",
    ),
    "nli4ct": (
        {
            "a.json": json.dumps({"k1": NLI}, indent=1),
            "CT json/N1.json": json.dumps({"Results": ["first trial"]}),
            "CT json/N2.json": json.dumps({"Results": ["second trial"]}),
        },
        {},
        "a.json",
    ),
    "pubmedqa": (
        {
            "ori_pqal.json": json.dumps({"7": PUBMED, "8": PUBMED}, indent=1),
            "test_ground_truth.json": json.dumps({"8": "no"}),
        },
        {},
        "ori_pqal.json",
    ),
    "trials": (
        {"a.csv": "NCT Number,Study Title,Conditions,Interventions,Sex\nN1,A title,pain,zinol,ALL\n"},
        {},
        "a.csv",
    ),
    "trials-json": ({"a.json": json.dumps([TRIAL], indent=1)}, {"format": "trials"}, "a.json"),
}
FILES = [(world, name) for world, (files, _, _) in WORLDS.items() for name in files]


def write_world(folder, world):
    """The split of a world, written below a folder, and its format and settings."""
    files, settings, split = WORLDS[world]
    for name, text in files.items():
        write_bytes(folder / name, text.encode())
    return folder / split, {"format": world} | settings


def write_bytes(path, data):
    """Bytes as the content of a file, gzipped if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
