"""Byte-level BPE tokenizers trained on the run's own text: no download, and no unknown characters."""

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

_PAD = "<pad>"


def train_bpe(
    texts: Iterable[str],
    vocab_size: int,
    end_token: str,
    start_token: str | None = None,
    more_special: Sequence[str] = (),
    lowercase: bool = True,
) -> PreTrainedTokenizerFast:
    """Train a tokenizer that can encode any text; no character becomes "unknown".

    Args:
        texts: texts to train on.
        vocab_size: upper bound on the number of entries, at least 259 plus the special tokens; frequent words
            become single entries.
        end_token: token after every text.
        start_token: token before every text, if given.
        more_special: further tokens that no text is split into and that decoding can skip.
        lowercase: True to lower-case texts first.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = [_PAD, *([start_token] if start_token else []), end_token]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*special, *more_special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start_token} $A {end_token}" if start_token else f"$A {end_token}",
        special_tokens=[(token, number) for number, token in enumerate(special) if token != _PAD],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_PAD,
        bos_token=start_token,
        eos_token=end_token,
        extra_special_tokens=list(more_special),
    )
