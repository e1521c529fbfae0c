"""train_picturebook_clip.py: train Picturebook's CLIP, a small `open_clip` model with `open_clip`'s loss.

Text-only transfer is a problem because of the gap between images and texts, which full-size CLIP has. The gap
arises because the two towers start in different narrow cones and the loss keeps them there (Liang et al.,
arXiv 2203.02053). Longer training closes the gap in a world this small. Here the towers' last biases therefore
start at random offsets, and the temperature is fixed by default.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from close_transfer.config.train_picturebook_clip import TrainPicturebookClipConfig
from close_transfer.core.arrays import IntArray
from close_transfer.core.atomic_files import write_json
from close_transfer.core.child_processes import open_pool
from close_transfer.core.console import show
from close_transfer.core.roles import Role, drop_settings
from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.drawing import draw_scene
from close_transfer.data.picturebook.scenes import Scene, scenes
from close_transfer.metrics.retrieval import compute_paired_cosine, compute_recall_at_k, compute_unrelated_cosine
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.open_clip_saving import save_open_clip
from close_transfer.models.two_towers import encode_short_texts

_START, _END = "<start_of_text>", "<end_of_text>"
_MEAN = _STD = (0.5, 0.5, 0.5)


def _draw_pixels(scene: Scene, size: int) -> NDArray[np.uint8]:
    return np.asarray(draw_scene(scene, size))


def _draw_scenes(chosen_scenes: Sequence[Scene], size: int) -> NDArray[np.uint8]:
    """Return all images, shape (scenes, size, size, 3)."""
    with open_pool() as pool:
        drawn = pool.map(_draw_pixels, chosen_scenes, [size] * len(chosen_scenes), chunksize=256)
        return np.stack(list(tqdm(drawn, total=len(chosen_scenes), desc="drawing", unit="image")))


def _normalize_pixels(pixels: NDArray[np.uint8]) -> Tensor:
    """Return images normalised as the saved preprocessing does it; shape (images, 3, size, size)."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (images - _MEAN[0]) / _STD[0]


@dataclass
class _CaptionTokens:
    """Token ids of all captions; a batch is cut to its longest caption."""

    ids: Tensor  # shape (captions, context)
    lengths: Tensor

    @classmethod
    def from_texts(cls, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], context: int) -> "_CaptionTokens":
        encoded = tokenizer(list(texts), padding="max_length", truncation=True, max_length=context, return_tensors="pt")
        return cls(encoded.input_ids, encoded.attention_mask.sum(dim=1))

    def select_batch(self, rows: IntArray) -> Tensor:
        return self.ids[rows][:, : int(self.lengths[rows].max())]


def _encode_text(model: open_clip.CLIP, tokens: Tensor) -> Tensor:
    """Return unit vectors of texts."""
    return F.normalize(encode_short_texts(model, tokens, model.text_eos_id), dim=-1)


def _offset_towers(model: open_clip.CLIP, config: TrainPicturebookClipConfig) -> None:
    """Offset the towers from each other: the last bias of each becomes a random vector of the configured length."""
    visual = model.visual
    image_bias = visual.attnpool.c_proj.bias if hasattr(visual, "layer4") else visual.ln_post.bias
    for bias, length in ((image_bias, config.image_offset), (model.ln_final.bias, config.text_offset)):
        bias.data.copy_(F.normalize(torch.randn_like(bias), dim=0) * length)


def _build_optimizer(
    model: open_clip.CLIP, config: TrainPicturebookClipConfig, compute_loss: torch.nn.Module
) -> torch.optim.Optimizer:
    model.logit_scale.requires_grad_(config.learn_temperature)
    trained = [
        (name, p) for name, p in (*model.named_parameters(), *compute_loss.named_parameters()) if p.requires_grad
    ]
    # As in open_clip's training: no decay on biases, gains and the temperature.
    decayed = [p for _, p in trained if p.ndim >= 2]
    rest = [p for _, p in trained if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), eps=1e-6)


def _compute_learning_rate(step: int, config: TrainPicturebookClipConfig) -> float:
    """Return the learning rate of a step: a linear warm-up, then a cosine to 0."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + float(np.cos(np.pi * progress)))


def _build_model_config(config: TrainPicturebookClipConfig, vocab_size: int) -> dict:
    return {
        "embed_dim": config.embed_dim,
        "vision_cfg": {"image_size": config.image_size, **config.vision},
        "text_cfg": {
            "context_length": config.context_length,
            "vocab_size": vocab_size,
            "hf_tokenizer_name": "picturebook",
            "pool_type": "eos",
            "eos_id": 2,
            **config.text,
        },
    }


class _ContrastiveLoss(torch.nn.Module):
    """Contrastive loss of images and their captions (CLIP)."""

    def __init__(
        self, model: open_clip.CLIP, chosen_scenes: Sequence[Scene], texts: _CaptionTokens, num_captions: int
    ) -> None:
        super().__init__()
        self._loss = open_clip.ClipLoss()
        self._model = [model]  # in a list, so that its parameters are not registered twice
        self._texts, self._num_captions = texts, num_captions

    def forward(self, images: Tensor, rows: IntArray, rng: np.random.Generator) -> Tensor:
        (model,) = self._model
        image_vectors = model.encode_image(images, normalize=True)
        caption_rows = rows * self._num_captions + rng.integers(self._num_captions, size=len(rows))
        return self._loss(
            image_vectors, _encode_text(model, self._texts.select_batch(caption_rows)), model.logit_scale.exp()
        )


class _ClassificationLoss(torch.nn.Module):
    """Classification loss of the kinds of things in an image: supervision by labels, without sentences."""

    def __init__(
        self, model: open_clip.CLIP, chosen_scenes: Sequence[Scene], texts: _CaptionTokens, num_captions: int
    ) -> None:
        super().__init__()
        self._model = [model]
        kinds = list(world.KINDS)
        self._labels = torch.zeros(len(chosen_scenes), len(kinds))
        for row, scene in enumerate(chosen_scenes):
            for kind, _ in scene.pairs:
                self._labels[row, kinds.index(kind)] = 1
        self._head = torch.nn.Linear(model.visual.output_dim, len(kinds))

    def forward(self, images: Tensor, rows: IntArray, rng: np.random.Generator) -> Tensor:
        (model,) = self._model
        return F.binary_cross_entropy_with_logits(self._head(model.encode_image(images)), self._labels[rows])


_LOSSES: dict[str, type[torch.nn.Module]] = {"contrastive": _ContrastiveLoss, "classes": _ClassificationLoss}


def train_clip(config: TrainPicturebookClipConfig) -> dict[str, float]:
    """Train on the `clip` split, save the model to `config.output`, and measure it on `test`.

    With `objective=classes` the image tower learns to name kinds of things and the text tower learns nothing. With
    `objective=none` neither tower learns anything. Both are for comparison.

    `open_clip` loads the folder as ``local-dir:FOLDER``.

    Returns:
        Recalls and cosines over the first captions of `config.num_test` scenes.
    """
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    began = time.monotonic()
    chosen_scenes = scenes("clip", config.num_scenes, config.seed)
    captions_by_scene = [[caption.text for caption in captions(scene)] for scene in chosen_scenes]
    num_captions = len(captions_by_scene[0])
    all_captions = [text for texts in captions_by_scene for text in texts]
    tokenizer = train_bpe(all_captions, config.vocab_size, end_token=_END, start_token=_START)
    texts = _CaptionTokens.from_texts(tokenizer, all_captions, config.context_length)
    pixels = _draw_scenes(chosen_scenes, config.image_size)
    model_config = _build_model_config(config, len(tokenizer))
    model = open_clip.CLIP(**model_config)
    model.logit_scale.data.fill_(-np.log(config.temperature))
    _offset_towers(model, config)
    steps = 0 if config.objective == "none" else config.steps
    compute_loss = _LOSSES.get(config.objective, _ContrastiveLoss)(model, chosen_scenes, texts, num_captions)
    optimizer = _build_optimizer(model, config, compute_loss)
    order: IntArray = np.empty(0, dtype=np.int64)
    with tqdm(range(steps), desc="training", unit="step") as bar:
        for step in bar:
            if len(order) < config.batch_size:
                order = rng.permutation(len(chosen_scenes))
            rows, order = order[: config.batch_size], order[config.batch_size :]
            for group in optimizer.param_groups:
                group["lr"] = _compute_learning_rate(step, config)
            loss = compute_loss(_normalize_pixels(pixels[rows]), rows, rng)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if step % 20 == 0:
                bar.set_postfix(loss=f"{loss.item():.3f}")
    folder = Path(config.output)
    _save(folder, model, tokenizer, model_config)
    measured = measure(model.eval(), tokenizer, config)
    measured["minutes"] = (time.monotonic() - began) / 60
    settings = drop_settings(TrainPicturebookClipConfig, config.model_dump(mode="json"), Role.LOCATION)
    write_json(folder / "training.json", {"config": settings, "measured": measured})
    return measured


def _save(folder: Path, model: open_clip.CLIP, tokenizer: PreTrainedTokenizerFast, model_config: dict) -> None:
    weights = {name: tensor.half() for name, tensor in model.state_dict().items()}
    preprocess = {"mean": list(_MEAN), "std": list(_STD), "interpolation": "bicubic", "resize_mode": "shortest"}
    save_open_clip(folder, weights, tokenizer, model_config, preprocess)


@torch.inference_mode()
def measure(
    model: open_clip.CLIP, tokenizer: PreTrainedTokenizerFast, config: TrainPicturebookClipConfig
) -> dict[str, float]:
    """Return recalls in both directions and cosines, over the first caption of every test scene."""
    chosen_scenes = scenes("test", config.num_test)
    pixels = np.stack([_draw_pixels(scene, config.image_size) for scene in chosen_scenes])
    texts = _CaptionTokens.from_texts(
        tokenizer, [captions(scene)[0].text for scene in chosen_scenes], config.context_length
    )
    blocks = np.array_split(np.arange(len(chosen_scenes)), max(1, len(chosen_scenes) // 250))
    images = torch.cat([model.encode_image(_normalize_pixels(pixels[b]), normalize=True) for b in blocks]).numpy()
    text_vectors = torch.cat([_encode_text(model, texts.select_batch(b)) for b in blocks]).numpy()
    recalls = {
        f"{way}_recall@{k}": compute_recall_at_k(queries, candidates, k)
        for way, queries, candidates in (
            ("image_to_text", images, text_vectors),
            ("text_to_image", text_vectors, images),
        )
        for k in (1, 5, 10)
    }
    return recalls | {
        "paired_cosine": compute_paired_cosine(images, text_vectors),
        "unrelated_text_cosine": compute_unrelated_cosine(text_vectors),
        "unrelated_image_cosine": compute_unrelated_cosine(images),
        "mean_distance": float(np.linalg.norm(images.mean(axis=0) - text_vectors.mean(axis=0))),
    }


def main(config: TrainPicturebookClipConfig) -> None:
    """Train, and print the measures."""
    for name, value in train_clip(config).items():
        show(f"  {name:<24} {value:.3f}")
    show(f"saved: {config.output}")
