import io
import json
import math

import pandas as pd
import pytest

from microtome.store.artifacts.store import Request, Store
from microtome.store.errors import StoreError
from microtome.store.files.operations import write_json
from microtome.store.frames import as_csv, tidy
from microtome.store.results import ROWS, read_rows, write_rows

REQUEST = Request("probe", 1, {}, {}, slug="small")
ROW = {"metric": "accuracy", "layer": 3, "value": 0.5}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("column", ["value", "low", "high", "epoch"])
def test_a_row_holds_finite_numbers_only(tmp_path, column, value):
    with pytest.raises(
        StoreError, match=rf"the {column} of accuracy is {value}, which is no result \(layer 3"
    ):
        write_rows(tmp_path, [ROW, ROW | {column: value}])
    assert not (tmp_path / ROWS).exists()


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "0.5, oops"])
def test_rows_that_hold_no_finite_number_are_not_read(tmp_path, value):
    store = Store(tmp_path)
    with store.begin(REQUEST) as staging:
        (staging.path / ROWS).write_text(f'{json.dumps(ROW)}\n{{"metric": "accuracy", "value": {value}}}\n')
    with pytest.raises(StoreError, match=r"^probe/small-\w{8}: rows.jsonl:2: not a row .*microtome cache rm"):
        read_rows(store.find(REQUEST))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_manifest_holds_finite_numbers_only(tmp_path, value):
    store = Store(tmp_path / "store")
    with pytest.raises(StoreError, match="cannot write manifest.json: a number in it is not finite"):
        with store.begin(REQUEST) as staging:
            staging.outputs["loss"] = [1.0, {"last": value}]
    assert store.find(REQUEST) is None
    with pytest.raises(StoreError):
        write_json(tmp_path / "a.json", value)
    assert not list(tmp_path.glob("a.json*"))


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\r\n=1"])
def test_a_text_that_a_spreadsheet_would_run_begins_with_an_apostrophe(text):
    frame = tidy([{"model": text, "label": text, "metric": "gain", "value": -0.5}])
    read = pd.read_csv(io.StringIO(as_csv(frame)), keep_default_na=False, dtype=str)
    assert read["model"][0] == read["label"][0] == "'" + "\n".join(text.splitlines())
    assert float(read["value"][0]) == -0.5
    assert frame["model"][0] == text  # the rows themselves stay as they are
    assert as_csv(pd.DataFrame({text: [1]})).startswith(("'", "\"'"))


def test_a_text_stays_in_its_row():
    frame = pd.DataFrame({"a": ["x\r=1+1", "y\r\n=1", "z\n=1"], "b": ["1", "2", "3"]})
    read = pd.read_csv(io.StringIO(as_csv(frame)), dtype=str)
    assert list(read["a"]) == ["x\n=1+1", "y\n=1", "z\n=1"]
    assert "\r" not in as_csv(frame)


def test_other_texts_and_missing_cells_stay_as_they_are():
    frame = pd.DataFrame({"a": ["x=1", None, "'q", "1-2"], "b": [1.0, float("nan"), -2.0, 3.0]})
    assert as_csv(frame) == frame.to_csv(index=False, lineterminator="\n")
    assert as_csv(frame, float_format="%.2f").splitlines()[1] == "x=1,1.00"
