import json
import math

import pytest

from store.artifacts import Request, Store
from store.errors import StoreError
from store.files import write_json
from store.results import ROWS, read_rows, write_rows

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
