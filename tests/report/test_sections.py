import pytest

from spinaldx.report.painter import Box
from spinaldx.report.sections import Part, height_of, lay_out, measured

BOX = Box(40, 34, 500, 100)


def section(*heights, heading=""):
    """Items that are their heights, drawn as empty room."""

    def draw(column, items):
        for item in items:
            column.space(item)

    return measured("Things", heading, heights, draw, BOX)


def dealt(pages):
    return [[(part.start, part.stop) for part in page] for page in pages]


def test_heights_are_measured_without_and_with_the_heading():
    titled = section(10, 30, heading="Things")

    assert section(10, 30).head == 0
    assert titled.head > 9
    assert titled.heights == pytest.approx([10, 30])
    assert Part(titled, 0, 2).height == pytest.approx(titled.head + 40)
    assert height_of(Part(titled, 0, 2).draw, BOX) == pytest.approx(titled.head + 40)


def test_a_known_height_is_not_measured():
    def draw(column, items):
        assert not items

    assert measured("Things", "", [1, 2], draw, BOX, 7.0).heights == [7.0, 7.0]


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        # Short ones share a page, in order.
        ([(40,), (30, 30)], [[(0, 1), (0, 2)]]),
        # What no longer fits goes on, an item as a whole.
        ([(40,), (30, 30, 30)], [[(0, 1), (0, 2)], [(2, 3)]]),
        ([(80,), (30, 30)], [[(0, 1)], [(0, 2)]]),
        # Higher than a page: alone, and nothing hangs.
        ([(20, 500, 20)], [[(0, 1)], [(1, 2)], [(2, 3)]]),
        ([(), (20,)], [[(0, 1)]]),
        ([], []),
    ],
)
def test_pages_are_filled_from_top_to_bottom(sections, expected):
    pages = lay_out([section(*heights) for heights in sections], 100.0)

    assert dealt(pages) == expected


def test_the_heading_takes_room_on_every_page():
    titled = section(40, 40, 40, heading="Things")

    assert dealt(lay_out([titled], 100.0)) == [[(0, 1)], [(1, 2)], [(2, 3)]]
