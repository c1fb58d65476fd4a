"""The HTML: it stands alone, is accessible, and takes what models say as words."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser

import pytest
from reportruns import FOUR, write_report_run

from edgetune.errors import MissingExtra
from edgetune.report import html as pages
from edgetune.report.building import build
from edgetune.report.html import to_html

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>",
    "</script></style></textarea><svg onload=alert(3)>",
    "--><!-- ]]> <!DOCTYPE x> {{ 7*7 }} {% raw %} $\\frac{1}{0}$",
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 emoji",
    "x" * 4000,
    "a\x00b\x1b[31mc\rd\ne",
)
VOID = {"meta", "br", "img", "link", "input", "hr"}
#: Elements and attributes through which a page asks others for something or runs code.
FETCHING = {"script", "img", "link", "iframe", "object", "embed", "base", "form", "image", "foreignobject", "video"}


class Reader(HTMLParser):
    """Gathers elements, and checks that they are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.open, self.problems = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [(attrs, around) for name, attrs, around in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(report):
    return to_html(report)


@pytest.fixture(scope="module")
def read(page):
    return Reader(page)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A run in which names, answers, prompts, notes and findings are all hostile."""
    run = write_report_run(tmp_path_factory.mktemp("hostile") / "run", FOUR[:2], rows=60)
    every = " ".join(HOSTILE)
    for name in ("base", "tuned", "smart-home-q8_0", "smart-home-f16"):
        path = run.evaluation_file(name)
        record = json.loads(path.read_text())
        record["notes"] = [every]
        for answer in record["answers"]:
            if not answer["correct"]:
                answer["prediction"] = HOSTILE[answer["row"] % len(HOSTILE)]
                answer["prompt"] = answer["reference"] = every
        for score in record["scores"]:
            if score["name"] == "exact_match":
                score["definition"] = every
        path.write_text(json.dumps(record))
    for path in (run.folder / "bench").iterdir():
        record = json.loads(path.read_text())
        record["warnings"] = [every]
        record["environment"]["cpu"] = record["settings"]["prompt_source"] = every
        path.write_text(json.dumps(record))
    (run.exports_folder / "q8_0").rename(run.exports_folder / "q8<script>alert(4)<b>$x_1$ --> \U0001f600")
    run.update_manifest(choices={every: every}, base_source=every, base_origin=every)
    recipe = run.folder / "recipe.yaml"
    text = recipe.read_text()
    recipe.write_text(re.sub("(?m)^description: .*$", lambda _: "description: " + json.dumps(HOSTILE[0]), text))
    return build(run.folder)


@pytest.fixture(scope="module")
def hostile_page(hostile):
    return to_html(hostile)


def test_well_formed(read):
    assert read.problems == []
    assert read.open == []


@pytest.mark.parametrize("name", ["page", "hostile_page"])
def test_nothing_is_fetched_or_run(request, name):
    text = request.getfixturevalue(name)
    found = Reader(text)
    assert found.problems == []
    assert found.open == []
    assert {tag for tag, _, _ in found.elements} & FETCHING == set()
    for tag, attrs, _ in found.elements:
        assert not [key for key in attrs if key.startswith("on")], tag
        for key in ("href", "xlink:href", "src", "action", "data", "poster", "background", "srcset"):
            assert attrs.get(key, "#").startswith("#"), (tag, attrs)
        assert not re.search(r"url\((?!#)|@import|expression", attrs.get("style") or "")
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(styles) == 1
    assert not re.search(r"url\(|@import|@font-face", styles[0])


def test_a_policy_forbids_what_escaping_should_prevent(read):
    policy = [attrs["content"] for attrs, _ in read.all("meta") if "http-equiv" in attrs]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]


def test_hostile_words_are_words(hostile_page):
    said = "".join(Reader(hostile_page).words)
    assert HOSTILE[0] in said
    assert HOSTILE[1] in said
    assert HOSTILE[2] in said, "braces are no template"
    assert "\U0001f600" in said
    assert "q8<script>alert(4)<b>$x_1$" in said


def test_what_reads_right_to_left_stays_in_its_place(hostile_page):
    cells = [attrs for attrs, around in Reader(hostile_page).all("td") if "long" in (attrs.get("class") or "")]
    assert cells
    assert all(attrs.get("dir") == "auto" for attrs in cells)


def test_tables_are_accessible(read, report):
    tables = read.all("table")
    assert len(tables) == len(list(report.tables))
    assert len(read.all("caption")) == len(tables)
    scopes = [attrs.get("scope") for attrs, _ in read.all("th")]
    assert set(scopes) == {"col", "row"}
    assert scopes.count("row") == sum(len(table.rows) for _, table in report.tables)
    assert scopes.count("col") == sum(len(table.columns) for _, table in report.tables)
    assert all("div" in around for _, around in tables), "a wide table scrolls in its own box"


def test_every_chart_is_named_and_has_its_data(read, page, report):
    assert len(read.all("figure")) == len(list(report.charts))
    names = [attrs["aria-labelledby"] for attrs, around in read.all("svg")]
    ids = [attrs["id"] for _, attrs, _ in read.elements if "id" in attrs]
    assert len(names) == len(list(report.charts))
    assert set(names) <= set(ids)
    assert len(ids) == len(set(ids)), "ids are unique, also among the pictures"
    for chart in report.charts:
        assert chart.table.caption.replace("'", "&#39;") in page


def test_references_inside_lead_somewhere(read):
    ids = {attrs["id"] for _, attrs, _ in read.elements if "id" in attrs}
    wanted = set()
    for _, attrs, _ in read.elements:
        wanted |= set(re.findall(r"#([\w-]+)", attrs.get("href") or ""))
        for key in ("style", "clip-path"):
            wanted |= set(re.findall(r"url\(#([\w-]+)\)", attrs.get(key) or ""))
    assert wanted
    assert wanted <= ids


def test_pictures_follow_light_and_dark(page):
    pictures = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--c1)" in pictures
    assert set(re.findall(r"#[0-9a-f]{6}\b", pictures)) == set()
    assert set(re.findall(r"var\(--(\w+)\)", page)) <= set(re.findall(r"--(\w+): #", page))


def test_the_headline_comes_first(read):
    headings = [name for name, _, _ in read.elements if re.fullmatch("h[1-6]", name)]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1


def test_same_report_same_page(report, page):
    pages._template.cache_clear()
    assert to_html(report) == page


def test_without_jinja2_it_is_said_what_to_install(report, monkeypatch):
    pages._template.cache_clear()
    for name in ("jinja2", "markupsafe"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra) as caught:
        to_html(report)
    assert "pip install 'edgetune[report]'" in caught.value.hint


def test_without_matplotlib_there_are_tables_and_a_sentence(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = Reader(to_html(report))
    assert found.all("svg") == []
    assert len(found.all("table")) == len(list(report.tables))
    assert "pip install 'edgetune[report]'" in "".join(found.words)
