"""Text that finds differences between two tokenizers: what people, code and other scripts really write."""

# RUF001: look-alike characters are the point here
# ruff: noqa: RUF001
from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Vocabulary entries whose own text is tried.
SAMPLED = 400

_PROSE = (
    "Hello, world! How are you? I'm fine; you're late, we've seen it, she'll go, they'd stay, it's 5 o'clock.",
    "I'M SHOUTING, YOU'RE NOT, WE'VE WON, HE'LL SEE, THEY'D GO, IT'S DON'T CAN'T 'TWAS",
    "It’s a “quoted” text – with dashes — and … ellipsis, naïve café, Zürich, Straße, Œuvre, ﬁne ligature",
    "e.g. i.e. Mr. Smith's 3rd-quarter (Q3) report: +12.5%, $1,234,567.89; see §4.2 & www.example.com/a?b=c&d=%20",
    "user.name+tag@example.co.uk, C:\\Users\\me\\file.txt, /usr/lib/x86_64-linux-gnu, v1.2.3-rc.4",
    "CamelCase snake_case kebab-case SCREAMING_CASE mixedCASEWord iPhone eBay McDonald's XMLHttpRequest",
    "''' ''' \"\"\" ``` ``code`` **bold** __init__ --flag -x !important ?!?! ...... !!!!!! ~~~~ ==== #### ////",
    'turn off the kitchen lights → {"intent": "HassTurnOff", "area": "kitchen", "brightness": 40}',
)
_DIGITS = (
    "1 12 123 1234 12345 123456 1234567 12345678 123456789 1234567890 12345678901234567890",
    "a1b22c333d4444e55555 3.14159 1e-10 0x1F 007 1,000,000 2024-02-29T23:59:59Z 555-0199 +49 (0)30 1234",
    "½ ¾ ² ³ ① ⑳ Ⅷ ٣٤٥ १२३ 一二三 １２３ 𝟏𝟐𝟑",
)
_SPACES = (
    " leading",
    "trailing ",
    "  two  spaces  ",
    "a   b    c     d      e       f        g",
    "\ttab\t\ttabs\t \tmixed \t end",
    "line\nline\n\nparagraph\n\n\nmore\n \n  \n   \n",
    "windows\r\nlines\r\n\r\nend\r",
    " \n \n\n \t \t\t \n\t x",
    "    indented\n        deeper\n    back\n",
    "\n",
    "\n\n",
    " ",
    "   ",
    "\t",
    "a\n",
    "a \n b",
    "word \n\n  next",
    "no-break\u00a0space thin\u2009space wide\u3000space zero\u200bwidth\u200djoiner",
)
_CODE = (
    "def f(x: int) -> str:\n    return f\"{x!r:>10}\" if x != 0 else 'none'  # comment\n",
    "for(int i=0;i<n;++i){a[i]+=b[i]*2;}\n\n/* C */ #include <stdio.h>\n",
    "SELECT * FROM t WHERE a>=1 AND b<>'x' ORDER BY c DESC;\n",
    '<div class="a b">&nbsp;text</div>\n<!-- comment -->',
    '{"a":[1,2,{"b":null}],"c":true,\n\t"d":"\\u00e9\\n"}',
    "x = λ y → ∀z ∈ ℝ: z² ≥ 0 ∧ ∑ᵢ aᵢ ≠ ∞",
    "$HOME ${VAR:-default} `cmd` | grep -E '^[a-z]+$' > out.txt 2>&1 && echo \"done\"",
)
_SCRIPTS = (
    "Привет, как дела? Съешь ещё этих мягких французских булок, да выпей чаю",
    "你好，世界！我想在apple工作1314151天～",
    "これは日本語のテストです。カタカナ・ひらがな・漢字ｶﾅ",
    "안녕하세요 세계! 한국어 ㅋㅋㅋ",
    "مرحبا بالعالم، كيف حالك؟ ١٢٣",
    "שלום עולם, מה שלומך?",
    "สวัสดีชาวโลก ภาษาไทยไม่มีช่องว่าง",
    "नमस्ते दुनिया, आप कैसे हैं? हिन्दी",
    "বাংলা ভাষা தமிழ் తెలుగు ಕನ್ನಡ മലയാളം",
    "Γειά σου Κόσμε, Ελληνικά; İstanbul ığdır Tiếng Việt ạ ế ộ",
    "កាន់តែពិសេសអាច ქართული ენა հայերեն አማርኛ",
    "Ünïcödé ÀÉÎÕÜ àéîõü ßþðæøå ÐÞÆØÅ łĄęŻ",
    "mixedПриветworld你好abcعربيxyz123абв",
)
_SYMBOLS = (
    "🚀 😀😃 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 😶‍🌫️ ❤️ 🇩🇪🇫🇷 ☺ ✅ 1️⃣",
    "emoji🙂in🙂words 🙂 🙂🙂",
    "cafe\u0301 A\u030a n\u0303 o\u0308\u0323 Z\u0351\u036b\u0343",
    "→ ← ⇒ • · ° © ® ™ € £ ¥ ₹ ₿ ¶ † ‡ ‰ № ∂ √ ∫ ≈ ▲ ■ ♥ ♫",
    "\u200e\u200f\ufeff\u00ad\u2028\u2029",
    "𝓗𝓮𝓵𝓵𝓸 𝕎𝕠𝕣𝕝𝕕 ｆｕｌｌｗｉｄｔｈ ʰᵉˡˡᵒ 𐍈 𠀀",
    "a\x01b\x02c\x1bd\x7fe",
)

FIXED = (*_PROSE, *_DIGITS, *_SPACES, *_CODE, *_SCRIPTS, *_SYMBOLS)


def hostile_texts(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Texts to compare, without repeats: fixed ones, the vocabulary's own entries, special tokens in text, a chat."""
    chosen = random.Random(0)  # noqa: S311 - a fixed sample, not a secret
    # a token that stands for spaces (Gemma's) is tried as the spaces that people type, not as the sign ▁
    added = sorted(tokenizer.added_tokens_decoder.items())
    special = [token.content.replace("▁", " ") for _, token in added]
    shown = special if len(special) <= 40 else [*special[:20], *chosen.sample(special[20:], 20)]
    own = _own_entries(tokenizer, chosen)
    joined = [" ".join(own[at : at + 8]) for at in range(0, len(own), 8)]
    shuffled = ["".join(chosen.sample(FIXED, 3)) for _ in range(20)]
    around = [text for token in shown for text in _around(token)]
    talk = [chat_text(tokenizer)] if tokenizer.chat_template else []
    return list(dict.fromkeys([*FIXED, *own, *joined, *shuffled, *around, *talk]))


def _own_entries(tokenizer: PreTrainedTokenizerBase, chosen: random.Random) -> list[str]:
    size = len(tokenizer)
    ids = range(size) if size <= SAMPLED else sorted(chosen.sample(range(size), SAMPLED))
    texts = [str(tokenizer.decode([index], clean_up_tokenization_spaces=False)) for index in ids]
    return [text for text in texts if text and "\ufffd" not in text]


def _around(token: str) -> list[str]:
    return [
        token,
        f"{token}{token}",
        f"a{token}b",
        f"a {token} b",
        f"one\n{token}\ntwo",
        f"{token}user\nHello there{token}\n",
        f"{token}  two spaces",
    ]


def chat_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """A conversation in the model's own chat template; it must have one."""
    talk = [
        {"role": "user", "content": "Turn off the kitchen lights,\n please: 1234 🙂"},
        {"role": "assistant", "content": '{"intent": "HassTurnOff"}'},
        {"role": "user", "content": "  and   now?"},
    ]
    return str(tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True))
