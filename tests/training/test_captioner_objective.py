"""Parts and loss of the captioning objective."""

import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from close_transfer.config.components import LoopConfig
from close_transfer.models.captioner import Captioner, CaptionerConfig
from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.training.captioned_images import CaptionedImages
from close_transfer.training.captioner_objective import CaptionerObjective
from close_transfer.training.ragged import Ragged
from tests.settings import read_settings

VISION = {"image_size": 8, "patch_size": 4, "width": 8, "depth": 1, "heads": 2}
DECODER = {"vocab_size": 20, "width": 8, "depth": 1, "heads": 2, "num_positions": 6}
SPECIAL = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
TEXTS = [[5, 6, 1], [7, 1], [8, 9, 10, 11, 1], [12, 13, 1]]
NOISE = torch.Generator()


def make_objective(share, seed=0, **changed):
    loop = read_settings("train_captioner.yaml")["train"]
    sizes = {"max_steps": 4, "batch_size": 4, "learning_rate": 0.01, "warmup_steps": 1}
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    images = CaptionedImages(["a", "b", "c", "d"], Ragged.from_rows(TEXTS), np.array([0, 0, 1, 1]), pixels)
    return CaptionerObjective(images, images, share, 6, LoopConfig(**loop | sizes | changed), seed)


@pytest.fixture
def model():
    torch.manual_seed(0)
    captioner = Captioner(CaptionerConfig(VISION, DECODER | SPECIAL))
    torch.nn.init.normal_(captioner.decoder.head.weight)
    return captioner


def sum_losses(objective, model, num_parts, step=0):
    parts = objective.make_parts(step, np.arange(4), num_parts, 1)
    return sum(objective.compute_loss(model, part, NOISE, Accelerator(cpu=True)) for part in parts)


def test_each_text_comes_with_its_image():
    objective = make_objective(0.0)
    (part,) = objective.make_parts(0, np.array([2, 0]), 1, 1)
    assert torch.equal(part.pixels, torch.from_numpy(objective.examples.pixels[[1, 0]]))
    assert part.labels.tolist() == [TEXTS[2], [*TEXTS[0], IGNORED, IGNORED]]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_loss_does_not_depend_on_the_number_of_parts(model, share):
    objective = make_objective(share)
    whole = sum_losses(objective, model, 1)
    torch.testing.assert_close(sum_losses(objective, model, 3), whole)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_each_text_counts_the_same_and_pads_carry_no_loss(model, share):
    objective = make_objective(share)
    (part,) = objective.make_parts(0, np.arange(4), 1, 6)
    assert part.labels.shape == (4, 6)
    with torch.no_grad():
        logits = model(part.pixels, part.labels, part.is_parallel).log_softmax(dim=-1)
    losses = [-logits[row, range(len(text)), text].mean() for row, text in enumerate(TEXTS)]
    expected = torch.stack(losses).mean()
    torch.testing.assert_close(sum_losses(objective, model, 1), expected)


def test_padding_for_cuda_graphs_ends_at_the_last_position(model):
    objective = make_objective(0.0)
    (part,) = objective.make_parts(0, np.arange(4), 1, 8)
    assert part.labels.shape == (4, DECODER["num_positions"])
    loss = objective.compute_loss(model, part, NOISE, Accelerator(cpu=True))
    torch.testing.assert_close(loss, sum_losses(objective, model, 1))


def test_validation_is_token_after_token(model):
    (part,) = make_objective(0.0).make_parts(0, np.arange(4), 1, 1)
    with torch.no_grad():
        logits = model(part.pixels, part.labels).log_softmax(dim=-1)
    expected = -torch.cat([logits[row, range(len(text)), text] for row, text in enumerate(TEXTS)]).mean()
    assert make_objective(1.0).validate(model, 0, Accelerator(cpu=True)) == pytest.approx(float(expected), rel=1e-5)


def test_validation_never_reads_the_mask(model):
    with torch.no_grad():
        model.decoder.embedding.weight[DECODER["vocab_size"]] = math.nan
    assert math.isfinite(make_objective(1.0).validate(model, 0, Accelerator(cpu=True)))
    assert math.isnan(sum_losses(make_objective(1.0), model, 1))


def test_parts_of_validation_are_as_large_as_those_of_training(model):
    whole = make_objective(0.0).validate(model, 0, Accelerator(cpu=True))
    sizes = []
    model.register_forward_pre_hook(lambda _, __, given: sizes.append(len(given["labels"])), with_kwargs=True)
    loss = make_objective(0.0, gradient_accumulation=2).validate(model, 0, Accelerator(cpu=True))
    assert sizes == [2, 2] and loss == pytest.approx(whole, rel=1e-6)


def test_masks_follow_the_share_and_the_step():
    def draw(share, step, seed=0):
        (part,) = make_objective(share, seed).make_parts(step, np.tile(np.arange(4), 250), 1, 1)
        return part.is_parallel

    assert not draw(0.0, 0).any() and draw(1.0, 0).all()
    assert draw(0.75, 0).float().mean() == pytest.approx(0.75, abs=0.05)
    assert torch.equal(draw(0.75, 3), draw(0.75, 3))
    assert not torch.equal(draw(0.75, 3), draw(0.75, 4))
    assert not torch.equal(draw(0.75, 3), draw(0.75, 3, seed=1))


def test_the_number_of_places_does_not_show_a_texts_length():
    (causal,) = make_objective(0.0).make_parts(0, np.array([1]), 1, 1)
    (mixed,) = make_objective(0.75).make_parts(0, np.array([1]), 1, 1)
    assert causal.labels.shape == (1, 2) and mixed.labels.shape == (1, 6)
