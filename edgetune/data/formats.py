"""The layouts that rows come in, how each is recognised, and how it becomes a conversation."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from edgetune.data.conversation import Conversation, Message, Problem
from edgetune.data.messages import Findings, check_messages, check_tools
from edgetune.data.records import load_json

Format = Literal["messages", "sharegpt", "alpaca", "prompt-completion", "text", "labelled", "images"]
Row = Mapping[str, Any]

#: In any format: rows with the same value are alike.
GROUP = "group"

#: ShareGPT's names of who speaks.
SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}


@dataclass(frozen=True)
class Layout:
    """One format.

    Attributes:
        signatures: a row has this format when it has all keys of one of these.
        optional: further keys that are used.
        build: makes a conversation of a row, given the signature that it matched.
        asked: whether a row is only taken for one where the user says so, never by its keys.
    """

    signatures: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...]
    build: Callable[[Row, Sequence[str], Findings], Conversation]
    asked: bool = False

    @property
    def keys(self) -> str:
        """The signatures in words."""
        return " or ".join("+".join(signature) for signature in self.signatures)

    def match(self, row: Row) -> tuple[str, ...] | None:
        """The first signature that the row has."""
        return next((s for s in self.signatures if all(key in row for key in s)), None)


def detect(sample: Sequence[Row]) -> tuple[Format | None, str]:
    """The format that most rows have, and how that was seen; None when no row has a known one."""
    found: Counter[tuple[Format, tuple[str, ...]]] = Counter()
    for row in sample:
        if seen := recognise(row):
            found[seen] += 1
    if not found:
        return None, f"no known keys in {len(sample)} rows"
    (chosen, signature), count = found.most_common(1)[0]
    keys = " and ".join(f"'{key}'" for key in signature)
    return chosen, f"keys {keys} in {count} of {len(sample)} rows"


def recognise(row: Row) -> tuple[Format, tuple[str, ...]] | None:
    """Format and keys of one row; where several fit, the richest."""
    for name, layout in FORMATS.items():
        if not layout.asked and (signature := layout.match(row)):
            return name, signature
    return None


def convert(rows: Iterable[tuple[str, Row]], format: Format, source: str) -> tuple[list[Conversation], list[Problem]]:
    """Turn all rows into conversations; those with an error are left out."""
    layout = FORMATS[format]
    conversations: list[Conversation] = []
    problems: list[Problem] = []
    unused: Counter[str] = Counter()
    for where, row in rows:
        findings = Findings(where)
        signature = layout.match(row)
        if signature is None:
            findings.error(_mismatch(row, format, layout))
        else:
            conversation = replace(layout.build(row, signature, findings), group=_group(row, findings))
            unused.update(key for key in row if key not in (*signature, *layout.optional, GROUP))
            if not findings.unusable:
                conversations.append(conversation)
        problems.extend(findings.problems)
    problems.extend(_unused_keys(unused, layout, source))
    return conversations, problems


def _mismatch(row: Row, format: Format, layout: Layout) -> str:
    seen = recognise(row)
    if seen and seen[0] != format and not layout.asked:
        return f"is laid out as {seen[0]} in a file of {format} rows"
    keys = ", ".join(f"'{key}'" for key in list(row)[:6]) or "none"
    return f"lacks the keys {layout.keys} (it has: {keys})"


def _unused_keys(unused: Counter[str], layout: Layout, source: str) -> list[Problem]:
    known = [*layout.optional, GROUP, *(key for signature in layout.signatures for key in signature)]
    asked = [(name, one.signatures[0]) for name, one in FORMATS.items() if one.asked]
    problems = []
    for key, count in unused.items():
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
        advice = f"; did you mean '{near[0]}'?" if near else ""
        if wanted := next((name for name, keys in asked if key in keys and {*keys} <= {*known, key}), None):
            advice = f"; --format {wanted} reads it"
        problems.append(Problem(source, f"key '{key}' is not used ({count} rows){advice}", "warning"))
    return problems


def _group(row: Row, findings: Findings) -> str | None:
    """The row's group; a number is as good a name as a text."""
    value = row.get(GROUP)
    if value is None or value == "":
        return None
    if isinstance(value, str | int):
        return str(value)
    findings.warn(f"'{GROUP}' is {type(value).__name__}, not text, and is not used")
    return None


def _chat(row: Row, signature: Sequence[str], findings: Findings) -> Conversation:
    raw = row[signature[0]]
    if _is_text_json(raw):
        raw = _load(raw, findings)
    return _conversation(raw, row, findings)


def _conversation(messages: Any, row: Row, findings: Findings) -> Conversation:
    """The messages with the row's tools."""
    tools = check_tools(row.get("tools"), findings)
    return Conversation(check_messages(messages, findings), findings.where, tools)


def _sharegpt(row: Row, signature: Sequence[str], findings: Findings) -> Conversation:
    raw = row[signature[0]]
    if _is_text_json(raw):
        raw = _load(raw, findings)
    if isinstance(raw, list) and any(isinstance(turn, dict) and "role" in turn for turn in raw):
        # The key of one convention with the turns of another.
        return _conversation(_after_system(raw, row, findings), row, findings)
    if not isinstance(raw, list):
        findings.error(f"'{signature[0]}' is not an array")
        return Conversation((), findings.where)
    turns = [_turn(number, turn, findings) for number, turn in enumerate(raw, start=1)]
    messages = _after_system(turns, row, findings)
    if findings.unusable:
        return Conversation((), findings.where)
    return _conversation(messages, row, findings)


def _after_system(messages: list[Any], row: Row, findings: Findings) -> list[Any]:
    """The messages, with the row's own column for a system prompt before them."""
    system = _text_of(row, "system", findings) if row.get("system") else ""
    if not system.strip():
        return messages
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    if first.get("role") in ("system", "developer"):
        if first.get("content") != system:
            findings.error("has one system prompt in 'system' and another in its messages")
        return messages
    return [{"role": "system", "content": system}, *messages]


def _turn(number: int, turn: Any, findings: Findings) -> Message:
    if not isinstance(turn, dict) or "from" not in turn or "value" not in turn:
        findings.error(f"turn {number} lacks the keys from+value")
        return {}
    speaker = str(turn["from"]).strip().lower()
    role = SPEAKERS.get(speaker)
    if role is None:
        findings.error(f"turn {number} is from {turn['from']!r}; known: {', '.join(SPEAKERS)}")
        return {}
    if speaker == "function_call":
        call = turn["value"]
        if not isinstance(call, dict | list):  # objects and arrays may stand there as they are
            call = _load(call, findings)
        return {"role": role, "content": "", "tool_calls": [{"function": part} for part in _listed(call)]}
    extra = {key: turn[key] for key in ("weight",) if turn.get(key) is not None}
    return {"role": role, "content": turn["value"], **extra}


def _alpaca(row: Row, signature: Sequence[str], findings: Findings) -> Conversation:
    del signature
    question = [_text_of(row, "instruction", findings), _text_of(row, "input", findings) if row.get("input") else ""]
    messages = [
        {"role": "user", "content": "\n\n".join(part for part in question if part.strip())},
        {"role": "assistant", "content": _text_of(row, "output", findings)},
    ]
    return _checked(_after_system(messages, row, findings), findings)


def _completion(row: Row, signature: Sequence[str], findings: Findings) -> Conversation:
    prompt, completion = row[signature[0]], row[signature[1]]
    if isinstance(prompt, list) and isinstance(completion, list):
        # Messages on both sides: only the completion is learnt.
        before = [m | {"weight": 0} if isinstance(m, dict) and m.get("role") == "assistant" else m for m in prompt]
        return _conversation(_after_system(before, row, findings) + completion, row, findings)
    messages = [
        {"role": "user", "content": _text_of(row, signature[0], findings)},
        {"role": "assistant", "content": _text_of(row, signature[1], findings)},
    ]
    whole = _after_system(messages, row, findings)
    return _checked(whole, findings, kind="chat" if len(whole) > len(messages) else "completion")


def _text(row: Row, signature: Sequence[str], findings: Findings) -> Conversation:
    del signature
    text = _text_of(row, "text", findings)
    if not text.strip() and not findings.unusable:
        findings.error("'text' is empty")
    return Conversation((), findings.where, text=text, kind="text")


def _labelled(row: Row, signature: Sequence[str], findings: Findings) -> Conversation:
    """A text, or an image's place, and the name of its class; a number is as good a name as a text."""
    key = signature[0]
    text, label = _text_of(row, key, findings), row["label"]
    if not text.strip() and not findings.unusable:
        findings.error(f"'{key}' is empty")
    if isinstance(label, int) and not isinstance(label, bool):
        label = str(label)
    if not isinstance(label, str):
        findings.error(f"'label' is {type(label).__name__}, not the name of a class")
    elif not label.strip():
        findings.error("'label' is empty")
    messages = ({"role": "user", "content": text}, {"role": "assistant", "content": str(label).strip()})
    return Conversation(messages, findings.where, kind="image" if key == "image" else "labelled")


def _checked(messages: list[Message], findings: Findings, kind: Literal["chat", "completion"] = "chat") -> Conversation:
    checked = () if findings.unusable else check_messages(messages, findings)
    return Conversation(checked, findings.where, kind=kind)


def _text_of(row: Row, key: str, findings: Findings) -> str:
    value = row.get(key)
    if isinstance(value, str):
        return value
    findings.error(f"'{key}' is missing" if value is None else f"'{key}' is {type(value).__name__}, not text")
    return ""


def _is_text_json(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith("[")


def _load(text: Any, findings: Findings) -> Any:
    if not isinstance(text, str):
        findings.error(f"holds {type(text).__name__} where JSON text is expected")
        return []
    try:
        return load_json(text)
    except ValueError as error:
        findings.error(f"holds JSON text that is not valid: {error}")
        return []


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


#: In order of precedence: a row with both 'messages' and 'prompt' is a messages row.
FORMATS: dict[Format, Layout] = {
    "messages": Layout((("messages",),), ("tools",), _chat),
    "sharegpt": Layout((("conversations",), ("conversation",)), ("system", "tools"), _sharegpt),
    "alpaca": Layout((("instruction", "output"),), ("input", "system"), _alpaca),
    "prompt-completion": Layout(
        (("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("input", "output")),
        ("system", "tools"),
        _completion,
    ),
    "text": Layout((("text",),), (), _text),
    # A row of it is also one of plain text.
    "labelled": Layout((("text", "label"),), (), _labelled, asked=True),
    "images": Layout((("image", "label"),), (), _labelled, asked=True),
}
assert set(FORMATS) == set(get_args(Format))
