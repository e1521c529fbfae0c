"""Few-shot VQA of captioners with a frozen language model: questions after 0, 1, 2 and 4 answered ones."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from close_transfer.config.choices import InputModality
from close_transfer.config.data import DataConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.arrays import Float64Array
from close_transfer.core.atomic_files import write_json
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.core.markdown import format_table
from close_transfer.core.pages import write_page
from close_transfer.data.example_kinds import QUESTIONS, find_datasets
from close_transfer.data.examples import Example, get_scene_key, sample
from close_transfer.data.sources import load_examples
from close_transfer.encoders.build import build_encoder
from close_transfer.encoders.embeddings import SceneVectors, encode_image_scenes, encode_text_scenes
from close_transfer.inference.few_shot import FewShotAnswerer, Shot, build_prompts
from close_transfer.inference.loading import load_model
from close_transfer.metrics.bootstrap import score_sums
from close_transfer.metrics.vqa import compute_vqa_accuracy
from close_transfer.models.device import pick_device
from close_transfer.training.runs import read_run
from studies.config import StudyFewShotConfig


def _get_question_data(run: Path, trained: TrainConfig, config: StudyFewShotConfig) -> DataConfig:
    """Return the data with the questions: the data of the settings, or else those of the run.

    Raises:
        UserError: if the data have no questions, or if a test question could also be one of its answered examples.
    """
    data = config.data or trained.data
    serving = find_datasets(QUESTIONS)
    if data.name not in serving or not data.names_prompts:
        source = f"runs={run}: was trained on data={data.name}, " if config.data is None else f"data={data.name}: "
        raise UserError(
            f"{source}which has no questions. Give data=, one of {', '.join(serving)}; a table needs "
            "data.prompt='{question}' data.target_column=answers"
        )
    if data.trains_on(data, config.split):
        raise UserError(
            f"data={data.name} split={config.split}: the answered questions come from the same rows. Give split=val"
            + (", for which a share is held out, or data.val_path=FILE is read" if data.is_table else " or split=test")
        )
    return data


def _draw_examples(data: DataConfig, config: StudyFewShotConfig) -> tuple[list[Example], list[Example]]:
    """Draw answered questions of the training split and test questions, the same for all runs."""
    supports = sample(load_examples(data, QUESTIONS, "train").examples, config.num_supports, 0)
    return supports, sample(load_examples(data, QUESTIONS, config.split).examples, config.max_examples, 0)


def _build_shots(
    examples: Sequence[Example], scenes: SceneVectors, input_modality: InputModality, answered: bool
) -> list[Shot]:
    vectors = scenes[np.arange(len(scenes))]
    return [
        Shot(
            vector, example.prompt, Counter(example.references).most_common(1)[0][0] if answered else "", input_modality
        )
        for vector, example in zip(vectors, examples, strict=True)
    ]


def _measure_accuracies(run: Path, config: StudyFewShotConfig) -> tuple[dict[int, Float64Array], list[str]]:
    """Return the accuracy of each question by number of shots, in percent, mean over seeds; and each question's scene."""
    trained, facts = read_run(run)
    data = _get_question_data(run, trained, config)
    device = pick_device(config.device)
    network, tokenizer = load_model(run, "best", device)
    if network.config.base_model is None:
        raise UserError(
            f"runs={run}: its language model was trained and no longer answers questions. Use a run with lm.tuning=frozen"
        )
    encoder = build_encoder(trained.clip, data, device, texts_needed=facts["input_modality"] == "text")
    supports, asked_examples = _draw_examples(data, config)
    # Answered questions show the modality that the run was trained on, so that a text-only system sees no other images.
    from_text = facts["input_modality"] == "text"
    support_scenes = (encode_text_scenes if from_text else encode_image_scenes)(
        encoder, supports, trained.embedding_cache
    )
    support_shots = _build_shots(supports, support_scenes, "text" if from_text else "image", True)
    question_shots = _build_shots(
        asked_examples, encode_image_scenes(encoder, asked_examples, trained.embedding_cache), "image", False
    )
    accuracies = {}
    for num_shots in config.shots:
        by_seed = []
        for seed in range(config.seeds if num_shots else 1):
            answers = FewShotAnswerer(network, tokenizer, config.form, max_words=config.max_words).answer(
                build_prompts(support_shots, question_shots, num_shots, seed)
            )
            by_seed.append(
                [
                    100 * compute_vqa_accuracy(answer, question.references)
                    for answer, question in zip(answers, asked_examples, strict=True)
                ]
            )
        accuracies[num_shots] = np.mean(by_seed, axis=0)
    return accuracies, [get_scene_key(example) for example in asked_examples]


def _summarise_accuracies(accuracies: Float64Array, scenes: Sequence[str], num_bootstrap: int) -> dict[str, Any]:
    """Return the mean over questions, with its interval over scenes."""
    _, scene = np.unique(scenes, return_inverse=True)
    sums = np.stack([np.bincount(scene, weights=accuracies), np.bincount(scene).astype(float)], axis=1)
    values, intervals = score_sums(sums, lambda total: {"accuracy": total[:, 0] / total[:, 1]}, num_bootstrap)
    return {"accuracy": values["accuracy"], "interval": list(intervals["accuracy"])}


def run_study(config: StudyFewShotConfig) -> str:
    """Test every run, write few_shot.json and few_shot.md, and return the table as Markdown.

    Raises:
        UserError: if a run cannot be used.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name in config.runs:
        accuracies, scenes = _measure_accuracies(Path(name), config)
        rows[name] = {
            str(shots): _summarise_accuracies(run_accuracies, scenes, config.num_bootstrap)
            for shots, run_accuracies in accuracies.items()
        }
    lines = []
    for name, row in rows.items():
        cells = [
            f"{summary['accuracy']:.1f} ({summary['interval'][0]:.1f} to {summary['interval'][1]:.1f})"
            for summary in row.values()
        ]
        lines.append([name, *cells])
    text = format_table(["run", *(f"{shots}-shot" for shots in config.shots)], lines)
    write_json(Path(config.output) / "few_shot.json", {"config": config.model_dump(mode="json"), "runs": rows})
    write_page(Path(config.output) / "few_shot.md", text + "\n")
    return text


def main(config: StudyFewShotConfig) -> None:
    """Run the study, and print its table."""
    show(run_study(config))
