"""Names of figures, and their themes."""

from microtome.analysis.report.canvas import DARK, LIGHT, MODEL_COLOURS, model_look, short, slug


def test_names_of_files_hold_nothing_but_letters_and_digits():
    assert slug("attention", "", "jensen_shannon") == "attention-jensen-shannon"
    assert slug("<i>../Aufgabe 1") == "i-aufgabe-1"


def test_every_colour_has_one_for_the_dark_theme():
    assert len(LIGHT) == len(DARK) == len(set(LIGHT))


def test_models_beyond_the_palette_are_still_told_apart():
    looks = [tuple(model_look(place).values()) for place in range(2 * len(MODEL_COLOURS))]
    assert len(set(looks)) == len(looks)


def test_long_names_are_cut_in_the_middle():
    assert short("abcdefghij", 5) == "ab…ij"
    assert short("abcde", 5) == "abcde"
