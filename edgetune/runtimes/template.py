"""Chat templates: Jinja in a sandbox, with the helpers that transformers gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from edgetune.errors import ArtifactError, DataError
from edgetune.extras import require
from edgetune.runtimes.protocol import Message

if TYPE_CHECKING:
    from jinja2 import Template

#: What ``strftime_now`` gives in training and evaluation. A template that prints today's date would give other
#: tokens tomorrow: a resumed run another model, and an evaluation other prompts than the training. Jinja lets a
#: macro of the same name stand in front of the function. The date is the one that Llama 3's template falls back to.
FIXED_DATE = (
    "{%- macro strftime_now(format) -%}"
    "{{ {'%d %b %Y': '26 Jul 2024', '%d %B %Y': '26 July 2024', '%A, %d %B %Y': 'Friday, 26 July 2024'}"
    ".get(format, '2024-07-26') }}"
    "{%- endmacro %}{{ '' }}"
)


def with_fixed_date(source: str) -> str:
    """A chat template that knows :data:`FIXED_DATE` only; one that asks for no date is left as it is."""
    return FIXED_DATE + source if "strftime_now" in source else source


def render(
    source: str, messages: Sequence[Message], special: Mapping[str, str], *, fixed_date: bool = False, **variables: Any
) -> str:
    """Apply a chat template.

    Args:
        source: the Jinja text.
        messages: the conversation.
        special: ``bos_token``, ``eos_token``, … → text, as far as the vocabulary has them.
        fixed_date: it is given :data:`FIXED_DATE`, not today's.
        variables: ``add_generation_prompt``, ``tools``, …

    Raises:
        ArtifactError: the template is not valid Jinja.
        DataError: the template refuses these messages.
    """
    jinja2 = require("jinja2", extra="gguf", needed_for="a chat template")
    try:
        template = _compile(with_fixed_date(source) if fixed_date else source)
    except jinja2.TemplateSyntaxError as error:
        raise ArtifactError(
            f"the chat template is not valid (line {error.lineno}): {error.message}",
            hint="export again with model.chat_template set to a corrected file",
        ) from error
    try:
        return template.render(messages=list(messages), **{"tools": None, "documents": None, **special, **variables})
    except (jinja2.TemplateError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"the chat template refuses this conversation: {error}", hint=_roles(messages)) from error


def _roles(messages: Sequence[Message]) -> str:
    return f"roles given, in order: {', '.join(str(message.get('role')) for message in messages) or 'none'}"


@lru_cache(maxsize=8)
def _compile(source: str) -> Template:
    """Compile with the options, filters and tags that transformers' templates are written for."""
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_generation_tag(), loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment.from_string(source)


def _generation_tag() -> Any:
    """An extension that accepts ``{% generation %}…{% endgeneration %}`` and renders the body.

    Training tools mark the assistant's text with it; for rendering it means nothing. The class is made here
    because its base comes from an optional dependency.
    """
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser

    class GenerationTag(Extension):
        tags = {"generation"}  # noqa: RUF012  # Jinja's own way to declare tags

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    return GenerationTag


def _tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:  # Jinja's own escapes HTML
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _raise_exception(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().astimezone().strftime(format)
