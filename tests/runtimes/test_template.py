"""Our rendering of chat templates equals transformers' own."""

import pytest
from tinymodels import tiny_tokenizer

from edgetune.errors import ArtifactError, DataError
from edgetune.runtimes.template import render

TALK = [
    {"role": "system", "content": "Be <brief> & kind."},
    {"role": "user", "content": 'Hé, "quote" and 日本語'},
    {"role": "assistant", "content": "  Sure. "},
    {"role": "user", "content": "more"},
]
TEMPLATES = {
    "plain": "{% for m in messages %}{{ bos_token }}{{ m.role }}: {{ m['content'] | trim }}\n{% endfor %}",
    "blocks": """{%- set ns = namespace(found=false) %}
  {% for m in messages %}
    {% if m.role == 'system' %}
      {% set ns.found = true %}
      {% continue %}
    {% endif %}
{{ loop.index0 }}{{ m | tojson }}{{ m | tojson(indent=2) }}
    {% generation %}
<a>{{ m.content }}</a>
    {% endgeneration %}
  {% if loop.index > 2 %}{% break %}{% endif %}
  {% endfor %}
{{ ns.found }}{{ unknown_thing }}{% if tools is none %}none{% endif %}{% if add_generation_prompt %}>{% endif %}
""",
    "dates": "{{ strftime_now('%d') | length }}{{ messages[0].content[:3] }}{{ messages[-1]['content'].upper() }}",
    "tools": "{% if tools %}{{ tools }}{% endif %}{{ eos_token }}{{ pad_token }}{{ messages | length }}",
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("prompt", [False, True])
def test_same_text_as_transformers(name, prompt):
    tokenizer = tiny_tokenizer()
    expected = tokenizer.apply_chat_template(
        TALK, chat_template=TEMPLATES[name], tokenize=False, add_generation_prompt=prompt
    )
    special = tokenizer.special_tokens_map
    assert render(TEMPLATES[name], TALK, special, add_generation_prompt=prompt) == expected


def test_a_refusal_says_why_and_shows_the_roles():
    source = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    with pytest.raises(DataError, match="refuses this conversation: System role not supported") as caught:
        render(source, TALK, {})
    assert caught.value.hint == "roles given, in order: system, user, assistant, user"


def test_a_broken_template_names_the_line():
    with pytest.raises(ArtifactError, match=r"not valid \(line 2\)"):
        render("{{ messages }}\n{% if %}", TALK, {})


@pytest.mark.parametrize("attack", ["{{ messages.__class__.__mro__ }}", "{{ ''.__class__.__base__.__subclasses__() }}"])
def test_the_sandbox_holds(attack):
    with pytest.raises(DataError, match="unsafe"):
        render(attack, TALK, {})


def test_templates_cannot_change_the_messages():
    with pytest.raises(DataError):
        render("{{ messages.append(1) }}", TALK, {})
    assert len(TALK) == 4
