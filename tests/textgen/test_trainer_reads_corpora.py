"""Training settings of the recipes: the trainer reads each corpus with them, groups included, and trains on it."""

import json
import shlex
from collections import defaultdict

import pytest

from close_transfer.cli import compose_config as compose_training
from close_transfer.config.train import TrainConfig
from close_transfer.core.command_line import compose_config, options
from close_transfer.pipelines.train import train
from close_transfer.tasks import build_task
from close_transfer.tasks.loading import load_task_examples
from tests.conftest import SMALL_LOOP, SMALL_MODEL
from textgen.config import SynthesizeCaptionsConfig
from textgen.pipeline import synthesize

NUM = 50


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Return a function that writes a recipe's corpus once, and returns its training settings and records."""
    made = {}

    def corpus(recipe):
        if recipe not in made:
            folder = tmp_path_factory.mktemp(recipe)
            arguments = [f"recipe={recipe}", f"num_texts={NUM}", f"output={folder}", "filters.clip_tokens=null"]
            config = compose_config("synthesize_captions", SynthesizeCaptionsConfig, arguments)
            assert synthesize(config, arguments) == 0
            path = folder / "corpus.jsonl"
            records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            # Split as by a shell, from the settings that are printed with every corpus.
            made[recipe] = [*shlex.split(config.recipe.train), f"data.path={path}"], records
        return made[recipe]

    return corpus


def trainer(settings):
    return compose_training(
        "train", TrainConfig, [*settings, "data.val_share=0.2", *SMALL_MODEL, *SMALL_LOOP, "device=cpu"]
    )


def loaded(config):
    found = [load_task_examples(config.task.name, config.data, split) for split in ("train", "val")]
    assert not any(one.num_skipped for one in found)
    assert all(one.examples for one in found)
    return [example for one in found for example in one.examples]


@pytest.mark.parametrize("recipe", options("recipe"))
def test_the_trainer_reads_every_corpus_with_the_recipes_settings(recipe, corpora):
    settings, records = corpora(recipe)
    config = trainer(settings)
    examples = loaded(config)
    assert {text for example in examples for text in example.texts} == {record["text"] for record in records}
    shaped = build_task(config.task).for_training(examples).examples
    assert shaped and all(example.targets and all(example.targets) for example in shaped)


def test_the_texts_of_a_group_make_one_scene(corpora):
    settings, records = corpora("paraphrase-group")
    groups = defaultdict(set)
    for record in records:
        groups[record["group"]].add(record["text"])
    scenes = {frozenset(example.texts) for example in loaded(trainer(settings))}
    assert scenes == {frozenset(texts) for texts in groups.values()}
    assert max(map(len, scenes)) == 5


@pytest.mark.parametrize(
    ("recipe", "prompt", "target"),
    [
        ("entailment", "hypothesis", "label"),
        ("vqa", "question", "answer"),
        ("character", "character", "text"),
        ("news", "article", "text"),
    ],
)
def test_prompts_and_targets_come_from_the_right_columns(recipe, prompt, target, corpora):
    settings, records = corpora(recipe)
    expected = {(record["text"], record[prompt], record[target]) for record in records}
    found = {
        (example.texts[0], example.prompt, (example.targets or example.references)[0])
        for example in loaded(trainer(settings))
    }
    assert found == expected


@pytest.mark.parametrize("recipe", ["coco-style", "paraphrase-group", "entailment", "vqa"])
def test_a_few_steps_are_trained(recipe, corpora, tmp_path):
    settings, _ = corpora(recipe)
    _, outcome = train(trainer([*settings, f"runs={tmp_path / 'runs'}"]), "text")
    assert outcome.state.step == 6
