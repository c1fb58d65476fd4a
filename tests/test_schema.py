"""The published schema says what the code says, and accepts what the code accepts."""

from __future__ import annotations

import json

from edgetune.recipe import leaf_fields, resolve
from edgetune.schema import SCHEMA_FILE, recipe_schema


def test_published_file_is_up_to_date():
    assert json.loads(SCHEMA_FILE.read_text(encoding="utf-8")) == recipe_schema(), "run: make docs"


def test_every_setting_is_in_it_with_its_description():
    schema = recipe_schema()
    for key, field in leaf_fields():
        section, name = key.split(".")
        reference = schema["properties"][section]
        definition = schema["$defs"][(reference.get("$ref") or reference["allOf"][0]["$ref"]).rsplit("/", 1)[-1]]
        assert definition["additionalProperties"] is False
        assert definition["properties"][name]["description"] == field.description


def test_the_comment_that_editors_read_does_no_harm(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("# yaml-language-server: $schema=recipe.schema.json\nname: a\nmodel: {source: m}\n")
    assert resolve(file).recipe.name == "a"
