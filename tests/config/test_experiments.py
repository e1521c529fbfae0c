"""Experiments of the relatives: they compose, say what they are, and hold together at full size."""

import re

import pytest
import torch

from benchmarks import check_experiments
from benchmarks.check_experiments import (
    PUBLISHED,
    TRAINED,
    ExperimentError,
    build_random_language_model,
    check_experiment,
)
from close_transfer.cli import CONFIGS, compose_config, options
from close_transfer.config.train import TrainConfig
from tests.conftest import REPOSITORY

NAMES = options("experiment")


def composed(name):
    data = ["data.path=DATA"] if name.startswith("limber") else []
    return compose_config("train", TrainConfig, [f"experiment={name}", *data])


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_composes_and_names_its_command_and_its_paper(name):
    config = composed(name)
    text = (CONFIGS / "experiment" / f"{name}.yaml").read_text()
    assert text.startswith("# @package _global_\n")
    (script,) = re.findall(rf"python scripts/(train_\w+)\.py experiment={name}\b", text)
    assert "Published" in text and re.search(r"arXiv \d{4}\.\d{5}", text)
    trained_on_pictures = name.startswith(("clipcap", "limber")) or name == "close/images"
    assert (script == "train_on_images") == trained_on_pictures
    assert config.lm.name in PUBLISHED or config.lm.kind == "scratch"


def test_an_experiment_can_be_changed_where_it_is_named():
    config = compose_config(
        "train", TrainConfig, ["experiment=close/tuned_noise", "task=captioning-multi", "train.batch_size=32"]
    )
    assert (config.task.name, config.train.batch_size, config.lm.name) == ("captioning-multi", 32, "t5-base")


LIMBER = [name for name in NAMES if name.startswith("limber")]


@pytest.mark.parametrize("name", LIMBER)
def test_limbers_recipes_follow_its_code(name):
    config = composed(name)
    assert config.train.schedule == "constant"  # 95% of the rate is left at the last of 15,000 steps, of 300,000
    assert (config.train.max_steps, config.train.learning_rate, config.train.warmup_steps) == (15_000, 8e-4, 100)
    if config.clip.model == "nf_resnet50":
        assert config.clip.image_size == 384


@pytest.mark.parametrize("name", LIMBER)
def test_published_numbers_of_a_recipe_are_those_of_the_table(name):
    head = (CONFIGS / "experiment" / f"{name}.yaml").read_text().split("# Published (read by eye")[1].split("# CC3M")[0]
    page = (REPOSITORY / "docs/results/related_methods.md").read_text().split("## LiMBeR's published numbers")[1]
    rows = [set(re.findall(r"\d+\.\d+", line)) for line in page.splitlines() if line.startswith("| ")]
    numbers = [set(re.findall(r"\d+\.\d+", line)) for line in head.splitlines()]
    named = [line for line in numbers if line]
    assert named and all(any(line <= row for row in rows) for line in named)


def test_large_batches_change_the_batch_its_rate_by_the_square_root_and_the_warm_up_alone():
    usual, large = (composed(f"close/{name}") for name in ("tuned_noise", "large_batch"))
    loop = {"batch_size": 1024, "warmup_steps": 200, "learning_rate": large.train.learning_rate}
    assert large.train.learning_rate == pytest.approx(usual.train.learning_rate * (1024 / 128) ** 0.5, rel=1e-3)
    assert large == usual.model_copy(update={"train": usual.train.model_copy(update=loop)})


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("t5-small", 60.5),
        ("t5-base", 222.9),
        ("t5-large", 737.7),
        ("openai-community/gpt2", 124.4),
        ("EleutherAI/gpt-j-6b", 6050.9),
    ],
)
def test_language_models_are_as_large_as_published(name, published):
    lm = composed("close/tuned_noise").lm.model_copy(update={"name": name})
    with torch.device("meta"):
        model = build_random_language_model(lm)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(published, abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["close/t5_small", "decap", *sorted(TRAINED)])
def test_experiments_train_three_steps_at_full_size(name):
    found = check_experiment(name, composed(name))
    assert len(found.losses) == (0 if name.startswith("limber") else 3)


@pytest.fixture
def small(monkeypatch):
    """A frozen experiment whose language model is tiny."""
    monkeypatch.setitem(
        PUBLISHED, "openai-community/gpt2", ("gpt2", {"n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 99})
    )
    return composed("clipcap_transformer").model_copy(update={"mapper": composed("limber_clip").mapper})


def test_what_is_not_as_published_or_not_as_its_settings_say_is_reported(small, monkeypatch):
    with pytest.raises(ExperimentError, match=r"0\.0 million parameters are trained; published are 43"):
        check_experiment("clipcap_transformer", small)
    assert len(check_experiment("another", small).losses) == 3
    monkeypatch.setattr(check_experiments, "set_trainable", lambda model, config: None)
    with pytest.raises(
        ExperimentError, match=r"lm\.tuning=frozen: \d+ weights should be frozen and are trained, or the reverse"
    ):
        check_experiment("another", small)
