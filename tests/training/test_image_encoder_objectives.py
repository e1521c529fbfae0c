"""Parts and losses of the objectives without language."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch._subclasses.fake_tensor import FakeTensorMode

from close_transfer.config.components import LoopConfig
from close_transfer.models.image_classifier import ImageClassifier, ImageClassifierConfig
from close_transfer.models.masked_autoencoder import (
    MaskedAutoencoder,
    MaskedAutoencoderConfig,
    cut_into_patches,
    normalize_patches,
)
from close_transfer.training.captioned_images import CaptionedImages
from close_transfer.training.image_encoder_objectives import ClassificationObjective, MaskedPatchesObjective
from close_transfer.training.parts import map_tensors
from close_transfer.training.ragged import Ragged
from tests.settings import read_settings

SIZES = {"image_size": 8, "patch_size": 4, "width": 8, "depth": 1, "heads": 2}
NUM_VISIBLE = 1
ROWS = np.arange(6)
KINDS = np.array([[True, False, True], [False, False, True]])[[0, 0, 1, 1, 1, 0]]
CLASSES = np.array([0, 2])[[0, 0, 1, 1, 1, 0]]
NOISE, CPU = torch.Generator(), Accelerator(cpu=True)


def make_images():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    texts = Ragged.from_rows([[5, 1], [5, 6, 1], [7, 1], [1], [8, 9, 1], [3, 1]])
    return CaptionedImages([*"abcdef"], texts, np.array([0, 0, 1, 1, 1, 0]), pixels)


def make_loop(**changed):
    sizes = {"max_steps": 4, "batch_size": 6, "learning_rate": 0.01, "warmup_steps": 1}
    return LoopConfig(**read_settings("train_image_encoder.yaml")["train"] | sizes | changed)


def make_classes(labels=KINDS, seed=0, **changed):
    return ClassificationObjective(make_images(), make_images(), labels, labels, make_loop(**changed), seed)


def make_masked(seed=0, **changed):
    return MaskedPatchesObjective(make_images(), make_images(), 4, NUM_VISIBLE, make_loop(**changed), seed)


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    model = ImageClassifier(ImageClassifierConfig(SIZES, 3))
    torch.nn.init.normal_(model.head.weight)
    return model


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    return MaskedAutoencoder(MaskedAutoencoderConfig(SIZES, NUM_VISIBLE))


def sum_losses(objective, model, num_parts, step=0):
    parts = objective.make_parts(step, ROWS, num_parts, 1)
    return sum(objective.compute_loss(model, part, NOISE, CPU) for part in parts)


def test_batches_are_ordered_by_the_texts_and_hold_their_images():
    for objective in (make_classes(), make_masked()):
        assert objective.compute_lengths().tolist() == [2, 3, 2, 1, 3, 2]
        (part,) = objective.make_parts(0, np.array([2, 0]), 1, 1)
        assert torch.equal(part.pixels, torch.from_numpy(objective.examples.pixels[[1, 0]]))


@pytest.mark.parametrize("num_parts", [2, 4, 8])
@pytest.mark.parametrize("labels", [KINDS, CLASSES], ids=["kinds", "classes"])
def test_the_loss_of_classes_does_not_depend_on_the_number_of_parts(classifier, labels, num_parts):
    objective = make_classes(labels)
    torch.testing.assert_close(sum_losses(objective, classifier, num_parts), sum_losses(objective, classifier, 1))


@pytest.mark.parametrize("num_parts", [2, 4, 8])
def test_the_loss_of_masked_patches_does_not_depend_on_the_number_of_parts(autoencoder, num_parts):
    objective = make_masked()
    torch.testing.assert_close(sum_losses(objective, autoencoder, num_parts), sum_losses(objective, autoencoder, 1))


@torch.no_grad()
def test_several_classes_are_binary_and_one_is_categorical(classifier):
    kinds, classes = make_classes(KINDS), make_classes(CLASSES, label_smoothing=0.0)
    logits = classifier(torch.from_numpy(make_images().pixels))[[0, 0, 1, 1, 1, 0]]
    present = torch.from_numpy(KINDS)
    binary = -torch.where(present, logits.sigmoid(), 1 - logits.sigmoid()).log().mean()
    torch.testing.assert_close(sum_losses(kinds, classifier, 1), binary)
    log_shares = logits.log_softmax(dim=1)
    torch.testing.assert_close(sum_losses(classes, classifier, 1), -log_shares[range(6), CLASSES].mean())
    smooth = make_classes(CLASSES, label_smoothing=0.3)
    expected = -(0.7 * log_shares[range(6), CLASSES] + 0.3 * log_shares.mean(dim=1)).mean()
    torch.testing.assert_close(sum_losses(smooth, classifier, 1), expected)


def test_a_validation_measures_each_image_once(classifier):
    logits = classifier(torch.from_numpy(make_images().pixels)).detach().log_softmax(dim=1)
    expected = float(-(logits[0, 0] + logits[1, 2]) / 2)
    for accumulation in (1, 6):
        loss = make_classes(CLASSES, gradient_accumulation=accumulation).validate(classifier, 0, CPU)
        assert loss == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_the_loss_of_masked_patches_is_that_of_the_hidden_ones(autoencoder):
    objective = make_masked()
    (part,) = objective.make_parts(3, ROWS, 1, 1)
    predicted = autoencoder(part.pixels, part.order)
    targets = normalize_patches(cut_into_patches(part.pixels, 4))
    errors = [
        ((predicted[row, place] - targets[row, number]) ** 2).mean()
        for row, order in enumerate(part.order.tolist())
        for place, number in enumerate(order[NUM_VISIBLE:])
    ]
    assert len(errors) == 6 * 3
    torch.testing.assert_close(sum_losses(objective, autoencoder, 1, step=3), torch.stack(errors).mean())


def test_a_validation_has_the_same_masks_each_time(autoencoder):
    autoencoder.eval()
    first = make_masked().validate(autoencoder, 1, CPU)
    assert make_masked().validate(autoencoder, 4, CPU) == first
    assert make_masked(gradient_accumulation=6).validate(autoencoder, 1, CPU) == pytest.approx(first, rel=1e-6)
    assert make_masked(seed=1).validate(autoencoder, 1, CPU) != first


def test_masks_follow_the_seed_and_the_step():
    def draw(step, seed=0, num_parts=1):
        parts = make_masked(seed).make_parts(step, np.tile(ROWS, 20), num_parts, 1)
        return torch.cat([part.order for part in parts])

    assert torch.equal(draw(3), draw(3)) and torch.equal(draw(3), draw(3, num_parts=7))
    assert not torch.equal(draw(3), draw(4)) and not torch.equal(draw(3), draw(3, seed=1))
    assert torch.equal(draw(3).sort(dim=1).values, torch.arange(4).expand(120, 4))
    shares = draw(3)[:, 0].bincount(minlength=4) / 120
    assert shares.min() > 0.12  # each patch is visible as often as another, about 0.25


@pytest.mark.parametrize("name", ["kinds", "classes", "masked"])
def test_a_forward_pass_reads_nothing_back_and_stays_on_the_gpu(name, classifier, autoencoder):
    """PyTorch's fake tensors know devices and shapes alone: reading a value or mixing devices raises."""
    objective = {"kinds": make_classes(KINDS), "classes": make_classes(CLASSES), "masked": make_masked()}[name]
    (part,) = objective.make_parts(0, ROWS, 1, 1)
    gpu = SimpleNamespace(autocast=lambda: torch.autocast("cuda", torch.bfloat16))
    with FakeTensorMode() as fake:
        model = autoencoder if name == "masked" else classifier
        for module in model.modules():
            for key, weight in module.named_parameters(recurse=False):
                setattr(module, key, torch.nn.Parameter(fake.from_tensor(weight).detach().to("cuda")))
        part = map_tensors(lambda tensor: fake.from_tensor(tensor).to("cuda"), part)
        loss = objective.compute_loss(model.train(), part, NOISE, gpu)
        assert loss.device.type == "cuda" and loss.dtype == torch.float32
