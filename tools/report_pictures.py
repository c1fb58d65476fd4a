"""Take the pictures of docs/guide/report.md from the report of a real run, in headless Chromium.

``python tools/report_pictures.py RUN`` makes the report in a folder that goes again, looks at it at the widths of a
desk and of a phone, and puts two of its charts side by side. Needs Chromium and Pillow.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from edgetune.report.writing import CHARTS, write_report

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "guide"
#: Picture → width and height of the window.
WINDOWS = {"report.png": (1080, 900), "report-phone.png": (390, 844)}
#: Shown side by side, by their ids.
SIDE_BY_SIDE = ("latency-ttft", "latency-itl")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_COLOURS = 128


def main() -> int:
    """Write the pictures; 1 where there is no browser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run that `edgetune run` has finished")
    run = parser.parse_args().run
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        print(f"no browser: one of {', '.join(_BROWSERS)} has to be installed", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        page = write_report(run, Path(folder))
        for name, size in WINDOWS.items():
            _photograph(browser, page, size, GUIDE / name)
        _join(page.parent / CHARTS, GUIDE / "report-charts.png")
    return 0


def _photograph(browser: str, page: Path, size: tuple[int, int], picture: Path) -> None:
    """The top of a page, as a window of this size shows it."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"]
    window = f"--window-size={size[0]},{size[1]}"
    words = [browser, *options, window, f"--screenshot={picture}", page.as_uri()]
    subprocess.run(words, check=True, capture_output=True, timeout=300)  # noqa: S603  # a browser, on our own page
    _few_colours(Image.open(picture)).save(picture, optimize=True)


def _join(charts: Path, picture: Path) -> None:
    """Two charts beside each other."""
    there = [charts / f"{name}.png" for name in SIDE_BY_SIDE if (charts / f"{name}.png").is_file()]
    pictures = [Image.open(path).convert("RGB") for path in there]
    height = max(one.height for one in pictures) // 2
    small = [one.resize((one.width * height // one.height, height)) for one in pictures]
    whole = Image.new("RGB", (sum(one.width for one in small), height), "white")
    for place, one in zip(_places(small), small, strict=True):
        whole.paste(one, (place, 0))
    _few_colours(whole).save(picture, optimize=True)


def _places(pictures: Sequence[Image.Image]) -> list[int]:
    """Where each begins."""
    return [sum(one.width for one in pictures[:number]) for number in range(len(pictures))]


def _few_colours(picture: Image.Image) -> Image.Image:
    """Small enough for a repository."""
    return picture.convert("RGB").quantize(_COLOURS)


if __name__ == "__main__":
    raise SystemExit(main())
