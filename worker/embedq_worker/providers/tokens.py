"""Estimate the number of tokens of a text without the model's tokenizer."""

from __future__ import annotations

from math import ceil

_CHARACTERS_PER_TOKEN = 3.5
_CONTINUATION_BYTES_PER_TOKEN = 2


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text on the high side, for packing requests below a provider's limit.

    English prose has 4 to 4.5 characters per token, code and Markdown 3 to 4; other scripts have fewer, the
    more UTF-8 bytes a character needs. So each character counts as 1/3.5 token, and each further byte of a
    character as half a token: Cyrillic 0.8, Chinese 1.3, emoji 1.8 tokens per character. Strings of random
    punctuation may have more; the provider then rejects the request, and it is bisected.

    Args:
        text: Any text.

    Returns:
        Estimated tokens, 0 for an empty text.
    """
    beyond_ascii = 0 if text.isascii() else len(text.encode("utf-8", "replace")) - len(text)
    return ceil(len(text) / _CHARACTERS_PER_TOKEN + beyond_ascii / _CONTINUATION_BYTES_PER_TOKEN)
