"""Matplotlib's SVG made fit for a page: no prolog, names of its own, colours that follow light and dark."""

from __future__ import annotations

import re

from edgetune.report.drawing import PALETTE
from edgetune.report.record import Chart

_DROPPED = (
    r"<\?xml.*?\?>",
    r"<!DOCTYPE.*?>",
    r"<!--.*?-->",
    r"<metadata>.*?</metadata>",
    # Its only rule says how lines join; a sheet inside a picture would hold for the whole page.
    r"<style[^>]*>.*?</style>",
)


def inline(svg: str, chart: Chart) -> str:
    """An SVG document as an element that can stand in HTML beside others.

    Args:
        svg: as matplotlib writes it; words in it are escaped.
        chart: which it shows; its id keeps names apart.
    """
    for pattern in _DROPPED:
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    start, rest = _opening(svg)
    box = re.search(r'viewBox="[^"]*"', start)
    assert box, "matplotlib writes one"
    for name, colour in PALETTE.items():
        rest = rest.replace(colour, f"var(--{name})")
    rest = rest.replace("xlink:href", "href")
    rest = re.sub(r'\bid="', f'id="{chart.id}-', rest)
    rest = rest.replace('href="#', f'href="#{chart.id}-').replace("url(#", f"url(#{chart.id}-")
    # The page's own font, and sizes that follow the picture's.
    rest = re.sub(r"font: (?:normal )*([\d.]+)px [^;\"]*", r"font-size: \1px", rest)
    opening = f'<svg {box.group()} role="img" aria-labelledby="{chart.id}-title" stroke-linejoin="round">'
    return re.sub(r"\n\s*\n+", "\n", f"{opening}{rest}").strip()


def _opening(svg: str) -> tuple[str, str]:
    """The tag ``<svg …>``, and what follows it."""
    found = re.search(r"<svg\b[^>]*>", svg)
    assert found, "matplotlib writes one"
    return found.group(), svg[found.end() :]
