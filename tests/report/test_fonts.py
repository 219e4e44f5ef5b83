import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinaldx.errors import OutputError
from spinaldx.report import fonts
from spinaldx.report.fonts import printable, shorten, text_width, wrap


class TestPrintable:
    @pytest.mark.parametrize(
        "text", ["Müller", "Ωμέγα", "Привет, мир", "a & <b>", "½ °"]
    )
    def test_leaves_latin_greek_and_cyrillic(self, text):
        assert printable(text) == text

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("中文", "[U+4E2D U+6587]"),
            ("a\N{ARABIC LETTER MEEM}b", "a[U+0645]b"),
            ("\N{HEBREW LETTER ALEF}", "[U+05D0]"),
            ("x\N{RIGHT-TO-LEFT OVERRIDE}fdp.exe", "x[U+202E]fdp.exe"),
            ("\N{GRINNING FACE}", "[U+1F600]"),
            ("a\0b\nc", "a[U+0000]b[U+000A]c"),
            ("\ud800", "[U+D800]"),
        ],
    )
    def test_names_what_it_cannot_show(self, text, expected):
        assert printable(text) == expected

    @given(st.text())
    def test_leaves_nothing_that_the_font_lacks(self, text):
        assert printable(printable(text)) == printable(text)

    def test_tells_names_apart(self):
        assert printable("\u4e2d") != printable("\u6587")


class TestShorten:
    def test_keeps_what_fits(self):
        assert shorten("abc", 100, 8) == "abc"

    def test_keeps_beginning_and_end(self):
        short = shorten("begin-" + "m" * 200 + "-end", 80, 8)

        assert short.startswith("begin-")
        assert "…" in short
        assert short.endswith("d")
        assert text_width(short, 8) <= 80

    def test_of_no_room_is_an_ellipsis(self):
        assert shorten("abc", 1, 8) == "…"


class TestWrap:
    @given(st.text(alphabet="ab mW", max_size=80))
    def test_loses_no_letter_and_fits(self, text):
        lines = wrap(text, 60, 8)

        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        assert all(text_width(line, 8) <= 60 for line in lines)

    def test_breaks_a_word_longer_than_a_line(self):
        assert len(wrap("a " + "m" * 60, 60, 8)) > 5

    def test_of_nothing_is_no_line(self):
        assert wrap("", 60, 8) == []


def test_missing_fonts_are_a_named_error(monkeypatch):
    monkeypatch.setattr(fonts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OutputError, match="fonts"):
        fonts.font_file("DejaVuSans")
