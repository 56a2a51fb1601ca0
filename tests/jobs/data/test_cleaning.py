import pytest

from microtome.jobs.data.cleaning import CLEANING, cleaner
from microtome.store.errors import InputError


@pytest.mark.parametrize(
    ("rule", "text", "cleaned"),
    [
        (
            "unicode",
            "e\u0301 5\u00a0mg\u2009x co\u00adop\u200b\ufeff\x07\u2028y\tz\n",
            "é 5 mg x coop\ny\tz\n",
        ),
        ("html", "<p>a<br/>b</p><!-- x\ny -->H<sub>2</sub>O", "\na\nb\nH2O"),
        ("html", '<a href="x">n</a> &lt;5 &amp; p&nbsp;&#8212;', "n <5 & p\u00a0\u2014"),
        (
            "html",
            "p <0.05, <unk> and n> 3 ; R&D; &bogus; a&lt b",
            "p <0.05, <unk> and n> 3 ; R&D; &bogus; a&lt b",
        ),
        ("html", "&amp;lt;b&amp;gt;", "&lt;b&gt;"),
        ("urls", "see https://a.org/b?c=(d), or www.x.y. End", "see ), or . End"),
        ("emails", "ask a.b+c@d-e.org. 5 @-@ 6", "ask . 5 @-@ 6"),
        ("citations", "shown [12], [1, 3-5] and [2–4;7].", "shown, and."),
        ("citations", "[1,4]oxazepine [3H]x [2.2.1] [0, 1] [a]", "[1,4]oxazepine [3H]x [2.2.1] [0, 1] [a]"),
        ("deidentified", "[**Known lastname 12**] saw ___ in a_b", " saw  in a_b"),
        ("bullets", "1. a\n - b\n(c) d\n\t* e\n2.1 Methods\n3) f", "a\nb\nd\ne\nMethods\nf"),
        (
            "bullets",
            "2.5 mg daily\n1.5 M salt\n-5 to 3\n12 patients",
            "2.5 mg daily\n1.5 M salt\n-5 to 3\n12 patients",
        ),
        ("medline_notes", "Done.(ABSTRACT TRUNCATED AT 250 WORDS)", "Done."),
        ("medline_notes", "Done. Copyright © 2013 Some & Co, Ltd.", "Done."),
        (
            "medline_notes",
            "The copyright of 2013 was lost. (c) 2010 men",
            "The copyright of 2013 was lost. (c) 2010 men",
        ),
        (
            "lost_line_ends",
            "PLAN:,1.  Rest.,2.  Water.,NOSE: , Red.",
            "PLAN:\n1.  Rest.\n2.  Water.\nNOSE:\nRed.",
        ),
        ("lost_line_ends", "et al., Smith, e.g., A and i.v., 5 mg", "et al., Smith, e.g., A and i.v., 5 mg"),
        ("whitespace", " a \t b\r\n\r\n \r\n\n c\rd \n", "a b\n\nc\nd"),
        ("one_line", " a \n\n b\u00a0c ", "a b c"),
    ],
)
def test_a_rule_takes_out_what_it_says_and_no_more(rule, text, cleaned):
    assert CLEANING[rule](text) == cleaned


@pytest.mark.parametrize("rule", CLEANING)
def test_every_rule_is_described_in_one_line_and_leaves_plain_text_alone(rule):
    assert "\n" not in CLEANING[rule].__doc__
    plain = "A dose of 5 mg was given to 12 patients (p < 0.05)."
    assert CLEANING[rule](plain) == plain
    assert CLEANING[rule]("") == ""


def test_rules_run_in_the_order_they_are_named():
    text = "a &nbsp;&nbsp;b"
    assert cleaner(["html", "unicode", "whitespace"])(text) == "a b"
    assert cleaner(["whitespace", "unicode", "html"])(text) == "a \u00a0\u00a0b"
    assert cleaner([])(text) == text


def test_an_unknown_rule_names_the_nearest():
    with pytest.raises(
        InputError, match="unknown cleaning rule 'url'; did you mean 'urls'\\? Known: unicode, html"
    ):
        cleaner(["html", "url"])
