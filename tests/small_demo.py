"""The demo suite made small: two models, two fractions, fewer texts."""

from pathlib import Path

import yaml

from microtome.jobs.suite.include import SUITES


def write_small_demo(path: Path) -> None:
    """Write it as a suite file."""
    suite = yaml.safe_load((SUITES / "demo.yaml").read_text("utf-8"))
    suite["models"] = {name: suite["models"][name] for name in ("bert", "biobert")}
    for model in suite["models"].values():
        model["adapt"] |= {"epochs": 1, "corpus": model["adapt"]["corpus"] | {"documents": 60}}
    suite |= {"fractions": [0, 100], "recipe": {"epochs": 3, "train_examples": 120}}
    suite["extract"]["probing"]["splits"] = {"train": 60, "dev": 20, "test": 60}
    suite["extract"]["attending"]["splits"] = {"test": 20}
    del suite["similarity"], suite["generate"]
    path.write_text(yaml.safe_dump(suite), "utf-8")
