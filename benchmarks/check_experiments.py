"""Check of every experiment of configs/experiment/: build it at full size with random weights, and train three steps.

    python benchmarks/check_experiments.py                # all of them; needs about 16 GB of memory
    python benchmarks/check_experiments.py capdec close/t5_small

Each experiment is composed, its parts are built at their published sizes, and it trains on random tokens. The image
tower is built on the meta device, which has shapes but no numbers. So is everything else if the language model would
take more than 16 GB. Nothing is downloaded.
"""

import gc
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import open_clip
import torch
from torch.nn import functional as F
from transformers import AutoConfig, PreTrainedModel

from close_transfer.cli import compose_config, options
from close_transfer.config.components import ClipConfig, PrecomputedConfig, TimmConfig
from close_transfer.config.language_models import LMConfig, ScratchLM
from close_transfer.config.train import TrainConfig
from close_transfer.encoders.encoder import flatten_grid
from close_transfer.encoders.timm_encoder import create_timm_model, resolve_preprocessing
from close_transfer.models.adapters import NoiseSource
from close_transfer.models.language_models import build_from_config, reset_generation_config, set_trainable
from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.models.network import TransferConfig, TransferNetwork
from close_transfer.models.noise_scale import NoiseScale
from close_transfer.models.saved_config import SavedBaseModel, SavedNoise, SavedTask

STEPS, BATCH, PROMPT_TOKENS = 3, 8, 4
_MAX_BYTES = 16e9  # of weights, their gradients, and the optimiser's two moments

# Sizes of pretrained language models that experiments name, as their publishers' configurations have them.
_T5 = {"d_kv": 64, "vocab_size": 32_128, "decoder_start_token_id": 0}
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "t5-small": ("t5", {**_T5, "d_model": 512, "d_ff": 2048, "num_layers": 6, "num_heads": 8}),
    "t5-base": ("t5", {**_T5, "d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12}),
    "t5-large": ("t5", {**_T5, "d_model": 1024, "d_ff": 4096, "num_layers": 24, "num_heads": 16}),
    "openai-community/gpt2": ("gpt2", {"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50_257}),
    "EleutherAI/gpt-j-6b": ("gptj", {"n_embd": 4096, "n_layer": 28, "n_head": 16, "rotary_dim": 64, "vocab_size": 50_400}),
}  # fmt: skip


# Published facts about some experiments: millions of trained parameters, and the shape of an image's vectors.
TRAINED = {"clipcap_mlp": 156, "clipcap_transformer": 43, "limber_clip": 12.6, "limber_nfrn50": 8.4, "limber_beit": 4.2}
VECTORS = {
    "limber_clip": (144, 3072),
    "limber_nfrn50": (2048,),
    "limber_beit": (196, 1024),
    "capdec": (640,),
    "decap": (512,),
}


class ExperimentError(Exception):
    """Experiment that cannot be trained, or that differs from the publication."""


@dataclass(frozen=True)
class ExperimentCheck:
    """Result of building and training one experiment.

    Attributes:
        vectors: shape of an image's vectors, (dim,) or (k, dim).
        num_parameters, num_trained: parameters of the mapper and the language model, all and trained ones.
        losses: losses of the three steps, in nats per token; empty on the meta device.
        seconds: time of building and training.
    """

    vectors: tuple[int, ...]
    num_parameters: int
    num_trained: int
    losses: tuple[float, ...]
    seconds: float


def find_vector_shape(clip: ClipConfig) -> tuple[int, ...]:
    """Return the shape of an image's vectors, (dim,) or (k, dim), computed on the meta device."""
    assert not isinstance(clip, PrecomputedConfig)
    with torch.device("meta"), torch.no_grad():
        if isinstance(clip, TimmConfig):
            model = create_timm_model(clip, pretrained=False)
            pixels = torch.zeros(1, *resolve_preprocessing(clip, model)["input_size"])
            if clip.features == "pooled":
                return tuple(model(pixels).shape[1:])
            (grid,) = model.forward_intermediates(  # type: ignore[operator]
                pixels, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
            )
            return tuple(flatten_grid(grid).shape[1:])
        tower = open_clip.create_model(clip.model, device="meta").visual
        size = tower.image_size
        pixels = torch.zeros(1, 3, *(size if isinstance(size, (tuple, list)) else (size, size)))
        if clip.features == "pooled":
            return tuple(tower(pixels).shape[1:])
        intermediates = tower.forward_intermediates(pixels, indices=1, intermediates_only=True)
        return tuple(flatten_grid(intermediates["image_intermediates"][0]).shape[1:])


def build_random_language_model(lm: LMConfig) -> PreTrainedModel:
    """Build the language model of an experiment with random weights, and set which parameters are trained."""
    if isinstance(lm, ScratchLM):
        sizes = lm.config | {"vocab_size": lm.vocab_size}
        extra_settings = {"decoder_start_token_id": 0} if lm.architecture == "t5" else {}
        model = build_from_config(AutoConfig.for_model(lm.architecture, **sizes, **extra_settings))
    else:
        model_type, settings = PUBLISHED[lm.name]
        model = build_from_config(AutoConfig.for_model(model_type, **settings))
        if lm.dtype != "float32":  # fake tensors, which benchmarks use, cannot be converted
            model = model.to(getattr(torch, lm.dtype))
        set_trainable(model, lm)
    reset_generation_config(model)
    return model


def _needs_meta(config: TrainConfig) -> bool:
    with torch.device("meta"):
        model = build_random_language_model(config.lm)
    # Weights are created in 32 bits, before they are converted to another precision.
    num_bytes = sum(4 * p.numel() * (4 if p.requires_grad else 1) for p in model.parameters())
    return num_bytes > _MAX_BYTES


def check_experiment(name: str, config: TrainConfig) -> ExperimentCheck:
    """Build an experiment's parts at full size, and train three steps on random tokens with its optimiser settings.

    Args:
        name: name of the experiment, to look up its published facts.
        config: composed settings of the experiment.

    Raises:
        ExperimentError: if other parameters are trained than the settings say, a loss is not finite, or the number of
            trained parameters or the shape of vectors is not as published.
    """
    began = time.perf_counter()
    shape = find_vector_shape(config.clip)
    device = torch.device("meta" if _needs_meta(config) else "cpu")
    torch.manual_seed(0)
    with device:
        lm = build_random_language_model(config.lm)
        network = build_random_network(config, lm, shape[-1])
        _check_trained_parameters(config.lm, network)
        losses = list(_train_steps(config, network, shape))
    trained = [p for p in network.parameters() if p.requires_grad]
    result = ExperimentCheck(
        shape,
        sum(p.numel() for p in network.parameters()),
        sum(p.numel() for p in trained),
        tuple(losses),
        time.perf_counter() - began,
    )
    del network, lm, trained
    gc.collect()
    if name in VECTORS and shape != VECTORS[name]:
        raise ExperimentError(f"{name}: vectors have shape {shape}; published is {VECTORS[name]}")
    millions = result.num_trained / 1e6
    if name in TRAINED and abs(millions / TRAINED[name] - 1) > 0.01:
        raise ExperimentError(f"{name}: {millions:.1f} million parameters are trained; published are {TRAINED[name]}")
    return result


def _check_trained_parameters(lm: LMConfig, network: TransferNetwork) -> None:
    tuning = "full" if isinstance(lm, ScratchLM) else lm.tuning
    should_be_trained = {"full": lambda _: True, "lora": lambda name: "lora_" in name, "frozen": lambda _: False}[
        tuning
    ]
    wrong_names = [
        name for name, parameter in network.lm.named_parameters() if parameter.requires_grad != should_be_trained(name)
    ]
    wrong_names += [name for name, parameter in network.mapper.named_parameters() if not parameter.requires_grad]
    if wrong_names:
        raise ExperimentError(
            f"lm.tuning={tuning}: {len(wrong_names)} weights should be frozen and are trained, or the reverse, such as "
            f"{wrong_names[0]}"
        )


def build_random_network(config: TrainConfig, lm: PreTrainedModel, dim: int) -> TransferNetwork:
    is_frozen = not isinstance(config.lm, ScratchLM) and config.lm.tuning != "full"
    std = config.noise if isinstance(config.noise, float) else (config.noise_variance or config.task.noise**2) ** 0.5
    return TransferNetwork(
        TransferConfig(
            encoder={"name": config.clip.kind, "dim": dim, "fingerprint": "", "config": {}},
            adapter=config.adapter.list_steps(),
            mapper=config.mapper.model_dump(),
            noise=cast(SavedNoise, NoiseScale(std, dim).as_dict()),
            task=cast(SavedTask, config.task.model_dump()),
            lm=lm.config.to_dict(),
            text_format={"kind": "encoder-decoder" if lm.config.is_encoder_decoder else "plain", "before": []},
            base_model=cast(SavedBaseModel, {"lora": None}) if is_frozen else None,
        ),
        lm,
    )


def _train_steps(config: TrainConfig, network: TransferNetwork, shape: Sequence[int]) -> Iterator[float]:
    device = network.device
    vocabulary = network.lm.get_input_embeddings().weight.shape[0]  # type: ignore[index]
    parameters = [p for p in network.parameters() if p.requires_grad]
    loop = config.train
    optimizer = torch.optim.AdamW(parameters, lr=loop.learning_rate, weight_decay=loop.weight_decay)
    network.train()
    for step in range(STEPS):
        targets = torch.randint(1, int(vocabulary), (BATCH, config.task.max_target_tokens), device=device)
        prompt = torch.randint(1, int(vocabulary), (BATCH, PROMPT_TOKENS if config.task.prompt else 0), device=device)
        vectors = torch.randn(BATCH, *shape, device=device)
        noise = None if device.type == "meta" else NoiseSource(torch.Generator().manual_seed(step), 0, BATCH)
        logits = network(
            vectors, prompt, torch.ones_like(prompt), targets, torch.arange(BATCH, device=device), "text", noise
        )
        loss = F.cross_entropy(
            logits.float().flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORED,
            label_smoothing=loop.label_smoothing,
        )
        optimizer.zero_grad()
        loss.backward()
        if loop.clip_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, loop.clip_grad_norm)
        optimizer.step()
        if device.type == "meta":
            continue
        if not torch.isfinite(loss):
            raise ExperimentError(f"the loss of step {step + 1} is {loss.item()}")
        yield loss.item()


def main() -> None:
    logging.disable(logging.WARNING)  # open_clip warns about random weights, which are intended here
    for name in sys.argv[1:] or options("experiment"):
        # LiMBeR's experiments need a data path, which only the user knows.
        config = compose_config(
            "train", TrainConfig, [f"experiment={name}", "data.path=DATA"][: 1 + name.startswith("limber")]
        )
        try:
            result = check_experiment(name, config)
        except ExperimentError as error:
            sys.exit(f"error: {name}: {error}")
        shape = " x ".join(map(str, result.vectors))
        losses = ", ".join(f"{loss:.2f}" for loss in result.losses) or "shapes only (meta device)"
        print(
            f"{name:<26} vectors {shape:<12} {result.num_parameters / 1e6:>7,.1f}M parameters, "
            f"{result.num_trained / 1e6:>6,.1f}M trained; losses {losses}; {result.seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
