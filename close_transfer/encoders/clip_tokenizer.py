"""CLIP's tokenizer in Rust for plain texts, for which it gives open_clip's ids, and open_clip's own for the others.

open_clip's tokenizer repairs each text with ftfy, which takes most of its time. Nothing is repaired in printable ASCII
without entities such as "&amp;", and Hugging Face's `tokenizers` splits such a text into the same tokens, by the same
vocabulary and merges. The tests compare the two on 100,000 captions, in which words are exchanged for others and for
random strings.
"""

import re
from collections.abc import Sequence
from itertools import chain
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from open_clip import tokenizer as open_clip_tokenizer
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Split
from torch import Tensor

# Left out are: control characters, which ftfy removes; "&", which begins an entity; "<", which begins a special token;
# and all that is not ASCII, which ftfy may repair and whose lower case may have more letters.
_IS_SAFE = re.compile(r"[\t\n -%'-;=-~]*").fullmatch
# open_clip's expression without its special tokens.
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class FastClipTokenizer:
    """Tokenizer that gives the ids of open_clip's `SimpleTokenizer`.

    Attributes:
        context_length: tokens per text by default.
        num_texts: number of texts so far.
        num_slow: number of those that went through open_clip's own tokenizer.
    """

    def __init__(self, tokenizer: open_clip_tokenizer.SimpleTokenizer) -> None:
        """Build the fast tokenizer from the vocabulary and merges of open_clip's."""
        self._slow = tokenizer
        merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
        self._fast = Tokenizer(BPE(vocab=tokenizer.encoder, merges=merges, end_of_word_suffix="</w>"))
        self._fast.pre_tokenizer = Split(Regex(_WORDS), behavior="removed", invert=True)
        self.context_length: int = tokenizer.context_length
        self.num_texts = self.num_slow = 0
        self._lock = Lock()  # several threads tokenize for a GPU

    def __call__(self, texts: Sequence[str], context_length: int | None = None) -> Int[Tensor, "texts context"]:
        """Return the ids of texts between start and end token, cut to the context and padded with zeros."""
        context_length = context_length or self.context_length
        is_safe = np.fromiter((_IS_SAFE(text) is not None for text in texts), dtype=bool, count=len(texts))
        safe, others = np.flatnonzero(is_safe).tolist(), np.flatnonzero(~is_safe).tolist()
        rows = np.zeros((len(texts), context_length), dtype=np.int64)
        if safe:
            rows[safe] = self._tokenize_fast([texts[i].lower() for i in safe], context_length)
        if others:
            rows[others] = self._slow([texts[i] for i in others], context_length).numpy()
        with self._lock:
            self.num_texts += len(texts)
            self.num_slow += len(others)
        return torch.from_numpy(rows)

    def _tokenize_fast(self, texts: list[str], context_length: int) -> np.ndarray:
        tokens = [encoding.ids for encoding in self._fast.encode_batch_fast(texts)]
        counts = np.fromiter(map(len, tokens), dtype=np.int64, count=len(tokens))
        flat = np.fromiter(chain.from_iterable(tokens), dtype=np.int64, count=int(counts.sum()))
        texts_of_tokens = np.repeat(np.arange(len(tokens)), counts)
        columns = 1 + np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
        fits = columns < context_length
        rows = np.zeros((len(tokens), context_length), dtype=np.int64)
        rows[:, 0] = self._slow.sot_token_id
        rows[texts_of_tokens[fits], columns[fits]] = flat[fits]
        rows[np.arange(len(tokens)), np.minimum(counts + 1, context_length - 1)] = self._slow.eot_token_id
        return rows


def speed_up_tokenizer(tokenizer: Any) -> Any:
    """Return a fast tokenizer with the same ids if there is one, else the same tokenizer.

    Tokenizers of Hugging Face are fast already. One of open_clip's with other cleaning, special tokens or reduction of
    long texts is kept too.
    """
    is_plain = (
        type(tokenizer) is open_clip_tokenizer.SimpleTokenizer
        and tokenizer.clean_fn is open_clip_tokenizer._clean_lower
        and tokenizer.reduction_fn is None
        and len(tokenizer.all_special_ids) == 2
    )
    return FastClipTokenizer(tokenizer) if is_plain else tokenizer
