import io

import pandas as pd
import pytest

from store.results import as_csv, tidy


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
