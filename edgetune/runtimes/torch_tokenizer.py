"""A transformers tokenizer as a runtime's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgetune.errors import ArtifactError, DataError
from edgetune.runtimes.protocol import Message
from edgetune.runtimes.template import with_fixed_date

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TorchTokenizer:
    """A transformers tokenizer as a runtime's tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self.stop_ids = stop_ids

    @property
    def beginning(self) -> tuple[int, ...]:
        """BOS, where the tokenizer begins every text with it."""
        bos = self._tokenizer.bos_token_id
        return (bos,) if bos is not None and self._tokenizer("a")["input_ids"][:1] == [bos] else ()

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        fixed_date: bool = False,
    ) -> str:
        """Apply the tokenizer's chat template.

        Raises:
            ArtifactError: it has none.
            DataError: the template refuses the messages.
        """
        import jinja2

        if not self._tokenizer.chat_template:
            raise ArtifactError(
                "the tokenizer has no chat template", hint="set model.chat_template in the recipe to a Jinja file"
            )
        try:
            given: Any = [dict(tool) for tool in tools] if tools else None
            source = self._tokenizer.get_chat_template(tools=given)
            text = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tools=given,
                chat_template=with_fixed_date(source) if fixed_date else source,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
            )
        except (jinja2.TemplateError, TypeError, KeyError) as error:
            raise DataError(f"the chat template refuses this conversation: {error}") from error
        return str(text)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids, without a BOS that the text does not name."""
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=not special)
        return [int(token) for token in encoded["input_ids"]]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of the tokens, control tokens left out."""
        text = self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)
