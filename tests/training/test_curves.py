import csv

from spinaldx.training.checkpoint import HistoryRow
from spinaldx.training.curves import draw_curves, write_history

ROWS = [
    HistoryRow("segmentation", n, n / 3, 60.0 * n, 1e-3, 1 / n, 0.1 * n, 9.0)
    for n in (1, 2, 3)
]


def test_history_is_a_table(tmp_path):
    write_history(tmp_path / "history.csv", ROWS)
    with (tmp_path / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))

    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert float(rows[1]["loss"]) == 0.5


def test_curves_are_a_picture_with_the_same_bytes():
    histories = {"segmentation": ROWS, "ms_vs_nmosd": []}
    first = draw_curves(histories, notice="SIMULATED")

    assert first.startswith(b"\x89PNG")
    assert first == draw_curves(histories, notice="SIMULATED")
    assert first != draw_curves(histories)


def test_nothing_to_draw_is_a_picture_too():
    assert draw_curves({}).startswith(b"\x89PNG")
