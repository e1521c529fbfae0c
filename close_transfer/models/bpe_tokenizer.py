"""Byte-level BPE tokenizers trained on the text at hand: no download, no unknown characters."""

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
    """A tokenizer by which any text can be encoded; none becomes "unknown".

    Args:
        texts: what it is trained on.
        vocab_size: upper bound on its entries, at least 259 and the special ones; frequent words become
            single entries.
        end_token: put after every text.
        start_token: put before every text, where given.
        more_special: further tokens that no text is split into and that decoding can skip.
        lowercase: whether texts are put in lower case first.
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
