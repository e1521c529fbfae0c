"""Whether the recipes of configs/experiment/ hold together at full size: random weights, random tokens, no download.

Each is composed, its parts are built as published, and it trains three steps. The picture tower is built on the meta
device, which has shapes and no numbers; so is everything where the language model would take more than 16 GB.
"""

import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import open_clip
import timm
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, PreTrainedModel

from close_transfer.adapters import NoiseSource
from close_transfer.conditioning import IGNORED
from close_transfer.config import ClipConfig, LMConfig, PrecomputedConfig, ScratchLM, TimmConfig, TrainConfig
from close_transfer.encoders.encoder import cells
from close_transfer.language_models import from_config, settle_generation, train_part
from close_transfer.model import TransferConfig, TransferNetwork
from close_transfer.noise import NoiseScale

STEPS, BATCH, PROMPT_TOKENS = 3, 8, 4
_MOST_BYTES = 16e9  # of weights, their gradients, and the optimiser's two moments

# Sizes of pretrained language models that recipes name, as their publishers' configurations have them.
_T5 = {"d_kv": 64, "vocab_size": 32_128, "decoder_start_token_id": 0}
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "t5-small": ("t5", {**_T5, "d_model": 512, "d_ff": 2048, "num_layers": 6, "num_heads": 8}),
    "t5-base": ("t5", {**_T5, "d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12}),
    "t5-large": ("t5", {**_T5, "d_model": 1024, "d_ff": 4096, "num_layers": 24, "num_heads": 16}),
    "openai-community/gpt2": ("gpt2", {"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50_257}),
    "EleutherAI/gpt-j-6b": ("gptj", {"n_embd": 4096, "n_layer": 28, "n_head": 16, "rotary_dim": 64, "vocab_size": 50_400}),
}  # fmt: skip


@dataclass(frozen=True)
class Checked:
    """What was built and how it trained.

    Attributes:
        vectors: shape of what the encoder gives for a picture, (dim,) or (k, dim).
        num_parameters, num_trained: of the mapper and the language model.
        losses: of the three steps, in nats a token; empty on the meta device.
        seconds: of building and training.
    """

    vectors: tuple[int, ...]
    num_parameters: int
    num_trained: int
    losses: tuple[float, ...]
    seconds: float


def picture_shape(clip: ClipConfig) -> tuple[int, ...]:
    """Shape of a picture's vectors, (dim,) or (k, dim), found on the meta device."""
    assert not isinstance(clip, PrecomputedConfig)
    with torch.device("meta"), torch.no_grad():
        if isinstance(clip, TimmConfig):
            model = timm.create_model(clip.model, num_classes=0)
            pixels = torch.zeros(1, *timm.data.resolve_model_data_config(model)["input_size"])
            if clip.features == "pooled":
                return tuple(model(pixels).shape[1:])
            (grid,) = model.forward_intermediates(  # type: ignore[operator]
                pixels, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
            )
            return tuple(cells(grid).shape[1:])
        tower = open_clip.create_model(clip.model, device="meta").visual
        size = tower.image_size
        pixels = torch.zeros(1, 3, *(size if isinstance(size, (tuple, list)) else (size, size)))
        if clip.features == "pooled":
            return tuple(tower(pixels).shape[1:])
        found = tower.forward_intermediates(pixels, indices=1, intermediates_only=True)
        return tuple(cells(found["image_intermediates"][0]).shape[1:])


def random_language_model(lm: LMConfig) -> PreTrainedModel:
    """The language model of a recipe with random weights, and what is trained of it."""
    if isinstance(lm, ScratchLM):
        sizes = lm.config | {"vocab_size": lm.vocab_size}
        more = {"decoder_start_token_id": 0} if lm.architecture == "t5" else {}
        model = from_config(AutoConfig.for_model(lm.architecture, **sizes, **more))
    else:
        model_type, settings = PUBLISHED[lm.name]
        model = from_config(AutoConfig.for_model(model_type, **settings)).to(getattr(torch, lm.dtype))
        train_part(model, lm)
    settle_generation(model)
    return model


def _needs_meta(config: TrainConfig) -> bool:
    with torch.device("meta"):
        model = random_language_model(config.lm)
    # Weights are made in 32 bits, whatever they become.
    held = sum(4 * p.numel() * (4 if p.requires_grad else 1) for p in model.parameters())
    return held > _MOST_BYTES


def check_recipe(config: TrainConfig) -> Checked:
    """Builds a recipe's parts at full size and trains three steps on random tokens.

    Raises:
        FloatingPointError: if a loss is not finite, or a weight that should not be trained has changed.
    """
    began = time.perf_counter()
    shape = picture_shape(config.clip)
    device = torch.device("meta" if _needs_meta(config) else "cpu")
    torch.manual_seed(0)
    with device:
        lm = random_language_model(config.lm)
        network = _network(config, lm, shape[-1])
        losses = list(_trained(config, network, shape))
    trained = [p for p in network.parameters() if p.requires_grad]
    checked = Checked(
        shape,
        sum(p.numel() for p in network.parameters()),
        sum(p.numel() for p in trained),
        tuple(losses),
        time.perf_counter() - began,
    )
    del network, lm, trained
    gc.collect()
    return checked


def _network(config: TrainConfig, lm: PreTrainedModel, dim: int) -> TransferNetwork:
    is_frozen = not isinstance(config.lm, ScratchLM) and config.lm.train != "full"
    std = config.noise if isinstance(config.noise, float) else (config.noise_variance or config.task.noise**2) ** 0.5
    return TransferNetwork(
        TransferConfig(
            encoder={"name": config.clip.kind, "dim": dim, "fingerprint": "", "config": {}},
            adapter=config.adapter.steps(),
            mapper=config.mapper.model_dump(),
            noise=NoiseScale(std, dim).as_dict(),
            task=config.task.model_dump(),
            lm=lm.config.to_dict(),
            text_format={"kind": "encoder-decoder" if lm.config.is_encoder_decoder else "plain", "before": []},
            base={"lora": None} if is_frozen else None,
        ),
        lm,
    )


def _trained(config: TrainConfig, network: TransferNetwork, shape: Sequence[int]) -> Iterator[float]:
    device = network.device
    vocabulary = network.lm.get_input_embeddings().weight.shape[0]  # type: ignore[index]
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=config.train.learning_rate)
    before = _frozen_sum(network)
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
            label_smoothing=config.train.label_smoothing,
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device.type == "meta":
            continue
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss of step {step + 1} is {loss.item()}")
        yield loss.item()
    if before is not None and not torch.equal(before, _frozen_sum(network)):  # type: ignore[arg-type]
        raise FloatingPointError("weights that should not be trained have changed")


def _frozen_sum(network: TransferNetwork) -> Tensor | None:
    """A number that changes when a weight does that is not trained; None where there is none, or no number."""
    frozen = [p for p in network.parameters() if not p.requires_grad and p.device.type != "meta"]
    return torch.stack([p.double().abs().sum() for p in frozen]) if frozen else None
