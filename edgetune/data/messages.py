"""The rules of chat messages, as OpenAI's fine-tuning format states them, checked one by one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgetune.data.conversation import Message, Problem
from edgetune.data.records import load_json

ROLES = ("system", "developer", "user", "assistant", "tool")
#: Keys whose value goes into the template as it is.
TEXTS = ("name", "refusal", "reasoning_content", "thinking")
#: Keys a message may have; templates read the last two.
KEYS = ("role", "content", "name", "weight", "tool_calls", "tool_call_id", "refusal", "reasoning_content", "thinking")


@dataclass
class Findings:
    """What was found wrong in one row."""

    where: str
    problems: list[Problem] = field(default_factory=list)

    def error(self, message: str) -> None:
        """Note a fault that makes the row unusable."""
        self.problems.append(Problem(self.where, message))

    def warn(self, message: str) -> None:
        """Note something worth a look."""
        self.problems.append(Problem(self.where, message, "warning"))

    @property
    def unusable(self) -> bool:
        """Whether an error was noted."""
        return any(problem.severity == "error" for problem in self.problems)


def check_messages(raw: Any, findings: Findings) -> tuple[Message, ...]:
    """Messages in their plain form: content a string, tool arguments an object.

    Every fault goes into ``findings``; the result may only be used when it notes no error.
    """
    if not isinstance(raw, list) or not raw:
        findings.error("'messages' is empty" if raw in ([], None) else "'messages' is not an array")
        return ()
    messages = [_message(number, message, findings) for number, message in enumerate(raw, start=1)]
    if findings.unusable:
        return ()
    _check_order(messages, findings)
    _check_tool_ids(messages, findings)
    return tuple(messages)


def _message(number: int, raw: Any, findings: Findings) -> Message:
    name = f"message {number}"
    if not isinstance(raw, dict):
        findings.error(f"{name} is not an object")
        return {}
    role = raw.get("role")
    if role not in ROLES:
        findings.error(f"{name} has the role {role!r}; known roles: {', '.join(ROLES)}" if role else f"{name}: no role")
        return {}
    name = f"{name} ({role})"
    _check_keys(name, raw, findings)
    message = {key: value for key, value in raw.items() if key in KEYS and value is not None}
    if message.get("tool_calls") and role != "assistant":
        findings.error(f"{name} has tool_calls; only assistant messages may make calls")
    elif message.get("tool_calls"):
        message["tool_calls"] = [_tool_call(name, call, findings) for call in _as_list(message["tool_calls"])]
    message["content"] = _content(name, message, findings)
    _check_weight(name, message, findings)
    for key in TEXTS:
        if not isinstance(message.get(key, ""), str):
            findings.error(f"{name}: '{key}' is {_kind(message[key])}, not text")
    _check_id(name, "tool_call_id", message, findings)
    return message


def _check_keys(name: str, raw: dict[str, Any], findings: Findings) -> None:
    for key, value in raw.items():
        if key in KEYS:
            continue
        near = difflib.get_close_matches(str(key), KEYS, n=1, cutoff=0.8)
        if near:
            findings.error(f"{name} has the unknown key '{key}'; did you mean '{near[0]}'?")
        elif value is not None:
            findings.warn(f"{name}: key '{key}' is not used")


def _content(name: str, message: Message, findings: Findings) -> str:
    content = message.get("content")
    calls = message["role"] == "assistant" and message.get("tool_calls")
    if isinstance(content, list):
        kinds = [part.get("type") if isinstance(part, dict) else type(part).__name__ for part in content]
        if strange := next((kind for kind in kinds if kind != "text"), None):
            findings.error(f"{name} has a content part of type {strange!r}; only text can be learnt")
            return ""
        texts = [part.get("text") for part in content]
        if bad := [number for number, text in enumerate(texts, start=1) if not isinstance(text, str)]:
            findings.error(f"{name}: 'text' of content part {bad[0]} is {_kind(texts[bad[0] - 1])}, not text")
            return ""
        content = "".join(texts)
    if content is None and not calls:
        findings.error(f"{name} has no content")
    elif content is not None and not isinstance(content, str):
        findings.error(f"{name}: content is {type(content).__name__}, not text")
    elif not (content or "").strip() and not calls and message["role"] in ("user", "assistant"):
        kind = "answer" if message["role"] == "assistant" else "question"
        findings.error(f"{name} is an empty {kind}")
    return content if isinstance(content, str) else ""


def _check_weight(name: str, message: Message, findings: Findings) -> None:
    if "weight" not in message:
        return
    if message["role"] != "assistant":
        findings.error(f"{name} has a weight; only assistant messages may have one")
    elif isinstance(message["weight"], bool) or message["weight"] not in (0, 1):
        findings.error(f"{name}: weight must be 0 or 1, not {message['weight']!r}")
    else:
        message["weight"] = int(message["weight"])


def _check_id(name: str, key: str, of: Mapping[str, Any], findings: Findings) -> None:
    if not isinstance(of.get(key), str | int | None):
        findings.error(f"{name}: '{key}' is {_kind(of[key])}, not text")


def _kind(value: Any) -> str:
    """A value's kind as JSON calls it."""
    names = {type(None): "null", bool: "true or false", list: "an array", dict: "an object", str: "text"}
    return names.get(type(value), "a number")


def _tool_call(name: str, call: Any, findings: Findings) -> dict[str, Any]:
    """A tool call with its arguments as an object, which is what chat templates expect."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        findings.error(f"{name} has a tool call without function.name")
        return {}
    _check_id(name, "id", call, findings)
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = load_json(arguments or "{}")
        except ValueError as error:
            findings.error(f"{name}: arguments of {function['name']} are not valid JSON: {error}")
            return {}
    if not isinstance(arguments, dict):
        findings.error(f"{name}: arguments of {function['name']} are not a JSON object")
    return {**call, "type": "function", "function": {**function, "arguments": arguments}}


def _check_order(messages: Sequence[Message], findings: Findings) -> None:
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        findings.error("has no assistant message: there is nothing to learn")
    elif messages[-1]["role"] != "assistant":
        findings.error(f"ends with a {messages[-1]['role']} message; the last one must be the assistant's")
    elif all(message.get("weight", 1) == 0 for message in answers):
        findings.error("gives every assistant message weight 0: there is nothing to learn")
    if not any(message["role"] in ("user", "tool") for message in messages):
        findings.error("has no user message: there is nothing to answer")


def _check_tool_ids(messages: Sequence[Message], findings: Findings) -> None:
    known: set[Any] = set()
    for number, message in enumerate(messages, start=1):
        known.update(call.get("id") for call in message.get("tool_calls", ()))
        asked = message.get("tool_call_id")
        if message["role"] == "tool" and asked is None:
            findings.warn(f"message {number} (tool) has no tool_call_id")
        elif asked is not None and asked not in known:
            findings.error(f"message {number} ({message['role']}) answers the tool call {asked!r}, which nobody made")


def check_tools(raw: Any, findings: Findings) -> tuple[dict[str, Any], ...]:
    """Tool definitions, given as an array or as its JSON text."""
    if isinstance(raw, str):
        try:
            raw = load_json(raw or "[]")
        except ValueError as error:
            findings.error(f"'tools' is not valid JSON: {error}")
            return ()
    tools = _as_list(raw)
    for number, tool in enumerate(tools, start=1):
        function = tool.get("function", tool) if isinstance(tool, dict) else {}
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            findings.error(f"tool {number} has no function.name")
    return tuple(tool for tool in tools if isinstance(tool, dict))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
