"""Language models: pretrained ones loaded by transformers, or a small one built from a config.

A model from scratch gets a tokenizer trained on the run's own text, so any language and any vocabulary work
without a download. A pretrained model is trained in full, by low-rank updates (LoRA), or not at all. In the
last two cases a checkpoint holds the name and fingerprint of the base model instead of its weights.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from close_transfer.config.language_models import LMConfig, PretrainedLM, ScratchLM
from close_transfer.core.errors import UserError
from close_transfer.core.loading_report import explain_loading_error
from close_transfer.encoders.weights_fingerprint import fingerprint_weights
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.captioner import decoder as captioner_decoder  # noqa: F401  # registers its architecture
from close_transfer.models.pretrained import load_pretrained_model, load_tokenizer
from close_transfer.models.prompt_format import Format, TextFormat
from close_transfer.models.saved_config import SavedBaseModel

END_TOKEN = "</s>"


@dataclass(frozen=True)
class LanguageModel:
    """A language model with its tokenizer and text format.

    Attributes:
        model: the transformers model; frozen parameters require no gradient.
        tokenizer: its tokenizer.
        format: how prompts and targets become token ids.
        base_model: None if checkpoints hold the whole model. Otherwise the name, folder (absolute path; None for
            a model of the hub), fingerprint, precision and tuning of the base whose weights they leave out.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    format: TextFormat
    base_model: SavedBaseModel | None


def build_from_scratch(config: ScratchLM, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Build a model with random weights for this tokenizer.

    Raises:
        UserError: if transformers' config refuses a setting, or the sizes do not fit together.
    """
    settings = config.config | {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    try:
        if config.architecture in ("t5", "captioner"):
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
            f"lm.config={config.config}: cannot become a {config.architecture} model ({reason}). See transformers' "
            "configuration of that architecture"
        ) from error


def build_from_config(config: PreTrainedConfig) -> PreTrainedModel:
    """Build the language model of a transformers config, with random weights."""
    family = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model = family.from_config(config, trust_remote_code=False)
    if not config.is_encoder_decoder:
        model.loss_type = (
            "ForCausalLM"  # transformers derives no loss from the name GPT2LMHeadModel, and warns about it in every run
        )
    return model


def _build_loading_error(subject: str, error: Exception, remedy: str) -> UserError:
    return UserError(
        f"{subject}: cannot be loaded ({explain_loading_error(error)}). Connect to the hub once, or {remedy}"
    )


def reset_generation_config(model: PreTrainedModel) -> None:
    """Remove the model's own decoding settings (sampling, penalties, lengths): the decoder sets them."""
    start = getattr(model.config, "decoder_start_token_id", None)
    model.generation_config = GenerationConfig(decoder_start_token_id=start)


def set_trainable(model: PreTrainedModel, config: PretrainedLM) -> None:
    """Enable gradients for what is tuned: the full model, low-rank updates, or nothing."""
    if config.tuning == "full":
        return
    model.requires_grad_(False)
    if config.tuning == "lora":
        _add_lora(model, config.lora.model_dump())


def _add_lora(model: PreTrainedModel, settings: dict[str, Any]) -> None:
    """Add low-rank updates to a model's linear layers (LoRA, Hu et al. 2021, arXiv 2106.09685).

    Raises:
        UserError: if the model has no layer of a given name, or peft cannot add them.
    """
    from peft import LoraConfig  # imported here, because few runs use LoRA and every run would wait for it

    layers = settings["layers"]
    names = [name for name, module in model.named_modules() if not list(module.children())]
    unknown = [layer for layer in layers or () if not any(f".{name}".endswith(f".{layer}") for name in names)]
    if layers and unknown:
        existing = sorted({name.rpartition(".")[2] for name in names})
        raise UserError(
            f"lm.lora.layers={','.join(layers)}: the model has no layer named {' or '.join(unknown)}. Choose from: "
            f"{', '.join(existing)}"
        )
    lora = LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules=layers or "all-linear",
    )
    try:
        model.add_adapter(lora)
    except (
        ImportError,
        ValueError,
    ) as error:  # for example, versions of peft and transformers that do not fit together
        raise UserError(
            f"LoRA layers cannot be added to this model: {error}. If this names a version, install the tested "
            "versions: pip install -c constraints.txt -e ."
        ) from error
    for parameter in model.parameters():
        if parameter.requires_grad:  # 16 bits lose small update steps
            parameter.data = parameter.data.float()


_GIVE_BASE = (
    "give the folder that holds it as base_model=FOLDER (of eval_image.py, predict.py, inspect_prefix.py, export_model.py and "
    "TransferModel.from_pretrained)"
)


def load_base_model(base_model: SavedBaseModel, folder: str | None = None) -> PreTrainedModel:
    """Load the base language model that a checkpoint names, ready to receive the checkpoint's weights.

    Args:
        base_model: see `LanguageModel.base_model`.
        folder: its present folder; None: the folder in `base_model`.

    Raises:
        UserError: if it cannot be loaded, or its weights differ from those in training.
    """
    name = folder or base_model.get("folder") or base_model["name"]
    if (
        name == base_model.get("folder") and not Path(name).is_dir()
    ):  # a local folder in training, even if its name could be one of the hub's
        raise UserError(
            f"{name}: there is no such folder, and the model was trained on the language model in it. Please {_GIVE_BASE}"
        )
    try:
        model = load_pretrained_model(name, base_model["dtype"])
    except UserError:
        raise
    except Exception as error:  # of many kinds: of JSON, of transformers, of safetensors
        raise _build_loading_error(f"{name}, the base language model of this checkpoint", error, _GIVE_BASE) from error
    reset_generation_config(model)
    fingerprint = fingerprint_weights(model)
    if fingerprint != base_model["fingerprint"]:
        raise UserError(
            f"{name} has other weights than the language model in training (fingerprint {fingerprint[:12]}, not "
            f"{base_model['fingerprint'][:12]}). Please {_GIVE_BASE}, or train again"
        )
    model.requires_grad_(False)
    if base_model["lora"]:
        _add_lora(model, base_model["lora"])
    return model


def build_language_model(config: LMConfig, texts: Iterable[str]) -> LanguageModel:
    """Build or load a language model, with gradients enabled for what is tuned.

    Args:
        config: a model from scratch, or a pretrained one.
        texts: prompts and targets of the training data; a model from scratch trains its tokenizer on them.

    Raises:
        UserError: if pretrained weights are not available, or the model lacks what its settings need.
    """
    if isinstance(config, ScratchLM):
        tokenizer: PreTrainedTokenizerBase = train_bpe(texts, config.vocab_size, end_token=END_TOKEN)
        model = build_from_scratch(config, tokenizer)
        reset_generation_config(model)
        return LanguageModel(model, tokenizer, TextFormat(tokenizer, _choose_format(model, tokenizer, "auto")), None)
    try:
        model, tokenizer = load_pretrained_model(config.name, config.dtype), load_tokenizer(config.name)
    except UserError:
        raise
    except Exception as error:  # as in `load_base_model`
        remedy = "give a folder that transformers' save_pretrained wrote, model and tokenizer, as lm=FOLDER"
        raise _build_loading_error(f"lm={config.name}", error, remedy) from error
    reset_generation_config(model)
    base_model = _describe_base_model(config, model) if config.tuning != "full" else None
    set_trainable(model, config)
    return LanguageModel(
        model, tokenizer, TextFormat(tokenizer, _choose_format(model, tokenizer, config.format)), base_model
    )


def _describe_base_model(config: PretrainedLM, model: PreTrainedModel) -> SavedBaseModel:
    """Describe a base as `LanguageModel.base_model`; a folder is made absolute, so that the model loads from anywhere."""
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
            raise UserError(f"lm.format={requested} only applies to models that are a decoder only. Leave it out")
        return "encoder-decoder"
    if requested == "chat" and not tokenizer.chat_template:
        raise UserError("lm.format=chat: the tokenizer has no chat template. Give lm.format=plain")
    if requested == "plain" or not tokenizer.chat_template:
        return "plain"
    return "chat"
