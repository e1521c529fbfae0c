"""Language models: pretrained ones through transformers, or a small one built from a config.

A model from scratch gets a tokenizer trained on the run's own text, so that any language and any
vocabulary work from the first day.
"""

from collections.abc import Iterable

from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
)

from close_transfer.bpe import train_bpe
from close_transfer.config import LMConfig, PretrainedLM, ScratchLM
from close_transfer.errors import UserError

END_TOKEN = "</s>"


def new_t5(config: ScratchLM, tokenizer: PreTrainedTokenizerBase) -> T5ForConditionalGeneration:
    """A T5 with random weights for this tokenizer.

    Raises:
        UserError: if transformers' config refuses a setting, or the sizes make no model.
    """
    settings = config.config | {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
    }
    try:
        built = T5Config(**settings)
        if min(built.num_layers, built.num_decoder_layers or 1) < 1:
            raise ValueError("num_layers and num_decoder_layers should be at least 1")
        return T5ForConditionalGeneration(built)
    except (StrictDataclassError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"lm.config={config.config}: cannot become a T5 ({reason}); see transformers' T5Config"
        ) from error


def _pretrained(config: PretrainedLM) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    try:
        model = AutoModelForSeq2SeqLM.from_pretrained(config.name)
        tokenizer = AutoTokenizer.from_pretrained(config.name)
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise UserError(
            f"lm={config.name}: cannot be loaded ({reason}); connect to the hub once, or give a folder that "
            "transformers' save_pretrained wrote, model and tokenizer, as lm=FOLDER"
        ) from error
    return model, tokenizer


def build_language_model(config: LMConfig, texts: Iterable[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A sequence-to-sequence language model and its tokenizer.

    Args:
        config: from scratch, or pretrained.
        texts: prompts and targets of the training data; a tokenizer from scratch is trained on them.

    Raises:
        UserError: if pretrained weights cannot be had.
    """
    if isinstance(config, ScratchLM):
        tokenizer = train_bpe(texts, config.vocab_size, end_token=END_TOKEN)
        return new_t5(config, tokenizer), tokenizer
    return _pretrained(config)
