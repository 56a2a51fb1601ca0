"""Settings and what of them is part of an identity."""

from typing import Self

import pytest
from pydantic import Field, create_model

from microtome.store.config import Config, runtime
from microtome.store.identity import digest


class Inner(Config):
    rate: float = 0.1
    names: tuple[str, ...] = ()


class Outer(Config):
    kind: str
    size: int = 3
    whole: bool = True
    share: float = 30
    inner: Inner = Inner()
    other: Inner | None = None
    several: tuple[Inner, ...] = ()
    by_name: dict[str, int] = Field(default_factory=dict)
    measures: tuple[str, ...] = Field(("b", "a"), json_schema_extra={"any_order": True})
    device: str = runtime("cpu", "where it runs")


def test_a_field_at_its_default_is_left_out_however_it_is_given():
    given = Outer(kind="x", size=3, whole=True, share=30.0, inner=Inner(rate=0.1), measures=("a", "b"))
    assert Outer(kind="x").identity() == given.identity() == {"kind": "x"}


def test_a_field_that_is_needed_stays_even_where_all_in_it_is_at_its_default():
    class Needed(Config):
        inner: Inner

    assert Needed(inner=Inner()).identity() == {"inner": {}}


@pytest.mark.parametrize(
    ("changed", "identity"),
    [
        ({"size": 4}, {"size": 4}),
        ({"whole": False}, {"whole": False}),
        ({"inner": {"names": ["n"]}}, {"inner": {"names": ["n"]}}),
        ({"other": {}}, {"other": {}}),  # one that is at its default is not the same as none
        ({"several": [{}, {"rate": 1}]}, {"several": [{}, {"rate": 1}]}),
        ({"by_name": {"a": 1}}, {"by_name": {"a": 1}}),
        ({"measures": ["c", "a"]}, {"measures": ["a", "c"]}),
    ],
)
def test_what_is_not_at_its_default_is_in_the_identity(changed, identity):
    assert Outer(kind="x", **changed).identity() == {"kind": "x", **identity}


def test_a_runtime_field_is_in_neither_and_settings_have_all_others():
    config = Outer(kind="x", device="cuda")
    assert "device" not in config.identity()
    assert config.all_settings() == {
        "kind": "x",
        "size": 3,
        "whole": True,
        "share": 30,
        "inner": {"rate": 0.1, "names": []},
        "other": None,
        "several": [],
        "by_name": {},
        "measures": ["a", "b"],
    }


def test_a_new_field_with_a_default_changes_no_identity():
    wider_inner = create_model("Inner", __base__=Inner, slope=(float, 2.0))
    wider = create_model(
        "Outer",
        __base__=Outer,
        new=(int | None, None),
        more=(Inner, Inner()),
        inner=(wider_inner, wider_inner()),
    )
    for values in ({}, {"size": 9}, {"inner": {"rate": 3.0}}):
        narrow = Outer.parse({"kind": "x", **values}, "test").identity()
        assert digest(wider.parse({"kind": "x", **values}, "test").identity()) == digest(narrow)
    assert wider(kind="x", inner=wider_inner(slope=1.0)).identity() == {"kind": "x", "inner": {"slope": 1.0}}


def test_two_forms_of_the_same_request_have_one_identity():
    class Sized(Config):
        size: int | None = None

        def settled(self) -> Self:
            return self.model_copy(update={"size": None}) if self.size == 5 else self

    assert Sized(size=5).identity() == Sized().identity() == {}
    assert Sized(size=6).identity() == {"size": 6}
