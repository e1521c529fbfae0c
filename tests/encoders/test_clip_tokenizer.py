import string

import numpy as np
import open_clip
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer

from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.encoders.clip_tokenizer import FastClipTokenizer, speed_up_tokenizer

ODD = [
    *(f"two{chr(code)}dogs" for code in range(128)),
    *("", " ", "a", " a ", "it's the DOGS' O'Neil'LL 'Re", "don't'd'm've", "aaaaaaaa aaa", "3.14159 + 1,000,000 = $5", "\r\na\r"),
    *("a &amp; b", "&amp;lt;b&amp;gt;", "&notit;", "AT&T", "<start_of_text>", "<END_OF_TEXT> a", "<|endoftext|>", "a < b > c"),
    *("café", "cafe\u0301", "cafÃ©", "“curly” ‘quotes’", "don’t", "l\u2019homme", "ﬁne ﬂow", "ＷＩＤＥ", "İstanbul", "ǅ ſtraße STRASSE", "ΣΑΣ"),  # noqa: RUF001
    *("犬と猫", "собака", "كلب", "הכלב", "หมา", "👩‍👩‍👧 🐶🏽", "a\u200bb", "\ufeffa dog", "a\u00a0dog", "a\u2028dog", "\x1b[31mred\x1b[0m", "\ud800 alone"),
    *("½ ² ① Ⅷ ٣", "\u0085", "a\u00add", "schÃ¶n", "â€œodd”", "\U0010ffff", "long " * 100, "x" * 300, "antidisestablishmentarianism" * 9),
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizers():
    slow = open_clip.get_tokenizer("ViT-B-32")
    return slow, speed_up_tokenizer(slow)


def check(tokenizers, texts, context=77):
    slow, fast = (tokenizer(texts, context) for tokenizer in tokenizers)
    wrong = (slow != fast).any(dim=1).nonzero()[:, 0].tolist()
    assert not wrong, [texts[row] for row in wrong[:5]]
    assert slow.dtype == fast.dtype


@pytest.mark.parametrize("context", [2, 3, 8, 77, 78])
def test_odd_texts_have_open_clips_ids(tokenizers, context):
    check(tokenizers, ODD, context)


def test_texts_of_open_clips_own_tokenizer_are_counted(tokenizers):
    fast = FastClipTokenizer(tokenizers[0])
    fast(["a dog", "café", "A red dog, at 5 o'clock; (it's \"here\")!", "salt &amp; pepper"], 20)
    assert (fast.num_texts, fast.num_slow) == (4, 2)
    assert fast([], 20).shape == (0, 20)


def test_other_tokenizers_are_kept():
    assert isinstance(speed_up_tokenizer(SimpleTokenizer()), FastClipTokenizer)
    for other in (
        SimpleTokenizer(clean="whitespace"),
        SimpleTokenizer(reduction_mask="simple"),
        SimpleTokenizer(additional_special_tokens=["<x>"]),
        object(),
    ):
        assert speed_up_tokenizer(other) is other


def draw_texts(rng, number):
    """Yield captions with parts exchanged by words of the vocabulary, by random ASCII and by random Unicode."""
    sources = [caption.text for scene in scenes("val", 50) for caption in captions(scene)]
    words = [word.removesuffix("</w>") for word in SimpleTokenizer().encoder if word.isascii()]
    printable = list(string.printable)
    for _ in range(number):
        parts = sources[rng.integers(len(sources))].split()
        kind = rng.integers(4)
        for place in rng.integers(len(parts), size=rng.integers(1, 6)):
            if kind < 2:
                parts[place] = words[rng.integers(len(words))]
            elif kind == 2:
                parts[place] = "".join(rng.choice(printable, rng.integers(1, 12)))
            else:
                codes = rng.integers(1, rng.choice([0x100, 0x500, 0x3000, 0xD800, 0x20000]), rng.integers(1, 5))
                parts[place] = "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)
        if rng.integers(2):
            parts = [str.title(part) if rng.integers(2) else str.upper(part) for part in parts]
        yield str(rng.choice([" ", "", "  ", "-"], p=[0.7, 0.1, 0.1, 0.1])).join(parts)


def test_drawn_texts_have_open_clips_ids(tokenizers):
    check(tokenizers, list(draw_texts(np.random.default_rng(1), 300)))


@pytest.mark.slow
def test_a_hundred_thousand_texts_have_open_clips_ids(tokenizers):
    texts = list(draw_texts(np.random.default_rng(0), 100_000))
    for start in range(0, len(texts), 5000):
        check(tokenizers, texts[start : start + 5000])
    assert torch.is_tensor(tokenizers[1](texts[:1]))
