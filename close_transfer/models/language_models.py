"""Language models: pretrained ones through transformers, or a small one built from a config.

A model from scratch gets a tokenizer trained on the run's own text, so that any language and any
vocabulary work from the first day. A pretrained one may be trained whole, by low-rank updates (LoRA), or
not at all; then a checkpoint names the base model and its fingerprint instead of holding its weights.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from peft import LoraConfig
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from close_transfer.config.components import LMConfig, PretrainedLM, ScratchLM
from close_transfer.core.errors import UserError
from close_transfer.encoders.weights_fingerprint import fingerprint_weights
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.prompt_format import Format, TextFormat
from close_transfer.models.saved_config import SavedBaseModel

END_TOKEN = "</s>"


@dataclass(frozen=True)
class LanguageModel:
    """A language model and how it is used.

    Attributes:
        model: of transformers; what is not trained needs no gradient.
        tokenizer: its own.
        format: how text is put to it.
        base_model: name, folder (its absolute path; None where it is the hub's), fingerprint, precision, and what is trained of
            it, where a checkpoint leaves its weights out; None where all of the model is saved.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    format: TextFormat
    base_model: SavedBaseModel | None


def build_from_scratch(config: ScratchLM, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A model with random weights for this tokenizer.

    Raises:
        UserError: if transformers' config refuses a setting, or the sizes make no model.
    """
    settings = config.config | {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    try:
        if config.architecture == "t5":
            settings["decoder_start_token_id"] = tokenizer.pad_token_id
        else:
            settings["bos_token_id"] = tokenizer.bos_token_id
        model_config = AutoConfig.for_model(config.architecture, **settings)
        layers = [model_config.num_hidden_layers, getattr(model_config, "num_decoder_layers", None)]
        if min(number for number in layers if number is not None) < 1:
            raise ValueError("num_layers and num_decoder_layers should be at least 1")
        return build_from_config(model_config)
    except (StrictDataclassError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"lm.config={config.config}: cannot become a {config.architecture} model ({reason}); see transformers' "
            "configuration of that architecture"
        ) from error


def build_from_config(config: PreTrainedConfig) -> PreTrainedModel:
    """The language model of a config, with random weights."""
    family = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model = family.from_config(config)
    if not config.is_encoder_decoder:
        model.loss_type = "ForCausalLM"  # transformers finds no loss in the name GPT2LMHeadModel, and says so each run
    return model


def _load_pretrained(name: str, dtype: str) -> PreTrainedModel:
    """Raises OSError or ValueError as transformers does; whoever asks knows what was asked for."""
    config = AutoConfig.from_pretrained(name)
    family = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model = family.from_pretrained(name, config=config, dtype=getattr(torch, dtype))
    reset_generation_config(model)
    return model


def _build_loading_error(subject: str, error: Exception, remedy: str) -> UserError:
    reason = (str(error).splitlines() or [""])[0][:200]
    return UserError(f"{subject}: cannot be loaded ({reason}); connect to the hub once, or {remedy}")


def reset_generation_config(model: PreTrainedModel) -> None:
    """Drops the model's own habits of decoding (sampling, penalties, lengths): a decoder says how it decodes."""
    start = getattr(model.config, "decoder_start_token_id", None)
    model.generation_config = GenerationConfig(decoder_start_token_id=start)


def set_trainable(model: PreTrainedModel, config: PretrainedLM) -> None:
    """Lets gradients reach what is trained of the model: all, low-rank updates, or nothing."""
    if config.tuning == "full":
        return
    model.requires_grad_(False)
    if config.tuning == "lora":
        _add_lora(model, config.lora.model_dump())


def _add_lora(model: PreTrainedModel, settings: dict[str, Any]) -> None:
    """Low-rank updates of a model's linear layers (LoRA, Hu et al. 2021, arXiv 2106.09685).

    Raises:
        UserError: if the model has no layer of a name that was given, or peft cannot add them.
    """
    layers = settings["layers"]
    names = [name for name, module in model.named_modules() if not list(module.children())]
    unknown = [layer for layer in layers or () if not any(f".{name}".endswith(f".{layer}") for name in names)]
    if layers and unknown:
        existing = sorted({name.rpartition(".")[2] for name in names})
        raise UserError(
            f"lm.lora.layers={','.join(layers)}: the model has no layer named {' or '.join(unknown)}; "
            f"it has {', '.join(existing)}"
        )
    lora = LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules=layers or "all-linear",
    )
    try:
        model.add_adapter(lora)
    except (ImportError, ValueError) as error:  # such as versions of peft and transformers that do not fit
        raise UserError(
            f"LoRA layers cannot be added to this model: {error}. If this names a version, install the tested "
            "versions: pip install -c constraints.txt -e ."
        ) from error
    for parameter in model.parameters():
        if parameter.requires_grad:  # small steps are lost in 16 bits
            parameter.data = parameter.data.float()


_GIVE_BASE = (
    "give the folder that holds it as base_model=FOLDER (of eval_image.py, predict.py, inspect_prefix.py, export_model.py and "
    "TransferModel.from_pretrained)"
)


def load_base_model(base_model: SavedBaseModel, folder: str | None = None) -> PreTrainedModel:
    """The language model that a checkpoint names and does not hold, with room for what it does.

    Args:
        base_model: as `LanguageModel.base_model`.
        folder: the folder that holds it now; None: it is where `base_model` says.

    Raises:
        UserError: if it cannot be loaded, or its weights are not those of the training.
    """
    name = folder or base_model.get("folder") or base_model["name"]
    if name == base_model.get("folder") and not Path(name).is_dir():  # no model of the hub, whatever it is called there
        raise UserError(
            f"{name}: there is no such folder, and the model was trained on the language model in it; {_GIVE_BASE}"
        )
    try:
        model = _load_pretrained(name, base_model["dtype"])
    except (OSError, ValueError) as error:
        raise _build_loading_error(
            f"{name}: the language model that this one was trained on", error, _GIVE_BASE
        ) from error
    fingerprint = fingerprint_weights(model)
    if fingerprint != base_model["fingerprint"]:
        raise UserError(
            f"{name} has other weights than the language model of the training (fingerprint {fingerprint[:12]}, not "
            f"{base_model['fingerprint'][:12]}); {_GIVE_BASE}, or train again"
        )
    model.requires_grad_(False)
    if base_model["lora"]:
        _add_lora(model, base_model["lora"])
    return model


def build_language_model(config: LMConfig, texts: Iterable[str]) -> LanguageModel:
    """A language model with what is trained of it.

    Args:
        config: from scratch, or pretrained.
        texts: prompts and targets of the training data; a tokenizer from scratch is trained on them.

    Raises:
        UserError: if pretrained weights cannot be had, or the model lacks what its settings ask for.
    """
    if isinstance(config, ScratchLM):
        tokenizer: PreTrainedTokenizerBase = train_bpe(texts, config.vocab_size, end_token=END_TOKEN)
        model = build_from_scratch(config, tokenizer)
        reset_generation_config(model)
        return LanguageModel(model, tokenizer, TextFormat(tokenizer, _choose_format(model, tokenizer, "auto")), None)
    try:
        model, tokenizer = _load_pretrained(config.name, config.dtype), AutoTokenizer.from_pretrained(config.name)
    except (OSError, ValueError) as error:
        remedy = "give a folder that transformers' save_pretrained wrote, model and tokenizer, as lm=FOLDER"
        raise _build_loading_error(f"lm={config.name}", error, remedy) from error
    base_model = _describe_base_model(config, model) if config.tuning != "full" else None
    set_trainable(model, config)
    return LanguageModel(
        model, tokenizer, TextFormat(tokenizer, _choose_format(model, tokenizer, config.format)), base_model
    )


def _describe_base_model(config: PretrainedLM, model: PreTrainedModel) -> SavedBaseModel:
    """As `LanguageModel.base_model`; a folder is kept as its absolute path, as the model may be loaded from anywhere."""
    folder = Path(config.name).resolve() if Path(config.name).is_dir() else None
    return {
        "name": folder.name if folder else config.name,
        "folder": str(folder) if folder else None,
        "fingerprint": fingerprint_weights(model),
        "dtype": config.dtype,
        "lora": config.lora.model_dump() if config.tuning == "lora" else None,
    }


def _choose_format(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, requested: str) -> Format:
    if model.config.is_encoder_decoder:
        if requested != "auto":
            raise UserError(f"lm.format={requested}: is of models that are a decoder only; leave it out")
        return "encoder-decoder"
    if requested == "chat" and not tokenizer.chat_template:
        raise UserError("lm.format=chat: the tokenizer has no chat template; give lm.format=plain")
    if requested == "plain" or not tokenizer.chat_template:
        return "plain"
    return "chat"
