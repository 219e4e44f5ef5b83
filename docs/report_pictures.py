"""Draw the pictures of `docs/report.md` from the report of a simulated patient.

python docs/report_pictures.py results/STUDY/report.pdf

Needs pdftoppm (poppler-utils). Never use it on a real scan.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent
DPI = 80
GAP = 10
COLOURS = 256


def main() -> None:
    """Write one picture a page, and one of all pages side by side."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["pdftoppm", "-r", str(DPI), "-png", sys.argv[1], f"{folder}/page"]
        subprocess.run(command, check=True)  # noqa: S603 - the user's own file
        pages = [
            Image.open(path).convert("RGB") for path in sorted(Path(folder).iterdir())
        ]
    for number, page in enumerate(pages, start=1):
        _save(page, DOCS / f"report-page{number}.png")
    width = sum(page.width + GAP for page in pages) - GAP
    joined = Image.new("RGB", (width, pages[0].height), "grey")
    left = 0
    for page in pages:
        joined.paste(page, (left, 0))
        left += page.width + GAP
    _save(
        joined.resize((joined.width * 3 // 4, joined.height * 3 // 4)),
        DOCS / "report.png",
    )


def _save(picture: Image.Image, path: Path) -> None:
    picture.quantize(COLOURS, kmeans=3).save(path, optimize=True)


if __name__ == "__main__":
    main()
