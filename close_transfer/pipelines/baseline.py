"""Training-free baselines: the answer of the nearest training text, or zero-shot choice by the encoder.

A trained model has to beat them. They use text only (T0), except `classify_by_cosine`, whose labels depend on
all test images (T1). They write a folder like that of `eval_image.py`, so reports and studies can read it.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from close_transfer.config.baseline import BaselineConfig
from close_transfer.core.arrays import Float32Array, normalize_rows
from close_transfer.core.atomic_files import write_json, write_text
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.data.decontamination import measure_leakage
from close_transfer.data.examples import Example, Prediction, fingerprint_examples
from close_transfer.encoders import AnyEncoder
from close_transfer.encoders.build import build_encoder
from close_transfer.encoders.embeddings import SceneVectors, encode_image_scenes, encode_text_scenes, encode_texts
from close_transfer.evaluation.official_formats import fingerprint_references
from close_transfer.evaluation.provenance import get_git_commit, get_package_versions
from close_transfer.evaluation.record import describe_leakage
from close_transfer.evaluation.results import Results
from close_transfer.evaluation.score_lines import format_score_lines
from close_transfer.metrics.bootstrap import Scores
from close_transfer.models.device import pick_device
from close_transfer.models.noise_scale import NoiseScale
from close_transfer.tasks import Task, build_task
from close_transfer.tasks.loading import load_task_examples

_IMAGES_AT_ONCE = 256  # compared with all training texts at once; it bounds memory


def find_nearest_answers(
    encoder: AnyEncoder, training: Sequence[Example], examples_to_answer: Sequence[Example], config: BaselineConfig
) -> list[str]:
    """Return, for each image with its question, the first target of the most similar training example.

    The similarity is the cosine of the image with the example's scene text, plus the cosine of the two prompts if
    the task has prompts.
    """
    scenes, images = (
        _normalize_scenes(encode_text_scenes(encoder, training, config.embedding_cache)),
        _normalize_scenes(encode_image_scenes(encoder, examples_to_answer, config.embedding_cache)),
    )
    training_prompts, questions = (
        _encode_prompts(encoder, examples, config) for examples in (training, examples_to_answer)
    )
    answers = []
    for start in range(0, len(examples_to_answer), _IMAGES_AT_ONCE):
        block = slice(start, start + _IMAGES_AT_ONCE)
        similarity = images[block] @ scenes.T
        if questions is not None and training_prompts is not None:
            similarity += questions[block] @ training_prompts.T
        answers += [training[row].targets[0] for row in similarity.argmax(axis=1)]
    return answers


def choose_answers(
    encoder: AnyEncoder, training: Sequence[Example], examples_to_answer: Sequence[Example], config: BaselineConfig
) -> list[str]:
    """Return the most similar common training answer for each image; the text compared is question plus answer.

    This is TAP-C's zero-shot question answering without its templates (Song et al. 2022, arXiv 2203.07190, section 4.1).
    """
    counts = Counter(target for example in training for target in example.targets)
    candidates = [answer for answer, _ in counts.most_common(config.num_answers)]
    questions = list(dict.fromkeys(example.prompt for example in examples_to_answer))
    texts = [f"{question} {answer}".strip() for question in questions for answer in candidates]
    vectors = _encode_texts(encoder, texts, config).reshape(len(questions), len(candidates), -1)
    row = {question: number for number, question in enumerate(questions)}
    images = _normalize_scenes(encode_image_scenes(encoder, examples_to_answer, config.embedding_cache))
    return [
        candidates[int((vectors[row[example.prompt]] @ image).argmax())]
        for example, image in zip(examples_to_answer, images, strict=True)
    ]


def classify_by_cosine(
    encoder: AnyEncoder, training: Sequence[Example], examples_to_answer: Sequence[Example], config: BaselineConfig
) -> list[str]:
    """Return labels by the cosine of hypothesis and image, with thresholds that give each label its training share.

    The training texts give the order of the labels along the cosine, and their shares. The thresholds come from all
    test cosines, because images are further from texts than texts are. An answer therefore depends on the other
    images and hypotheses of the test (the method is transductive), and a single image cannot be classified. The
    test images serve as unpaired images, so the data regime is T1.
    """
    seen = _encode_texts(encoder, [example.prompt for example in training], config)
    near = (_normalize_scenes(encode_text_scenes(encoder, training, config.embedding_cache)) * seen).sum(axis=1)
    labels = np.array([example.targets[0] for example in training])
    order = sorted(set(labels.tolist()), key=lambda label: float(near[labels == label].mean()))
    shares = np.cumsum([float((labels == label).mean()) for label in order])[:-1]
    images = _normalize_scenes(encode_image_scenes(encoder, examples_to_answer, config.embedding_cache))
    cosines = (images * _encode_texts(encoder, [example.prompt for example in examples_to_answer], config)).sum(axis=1)
    return [order[place] for place in np.searchsorted(np.quantile(cosines, shares), cosines)]


def _normalize_scenes(scenes: SceneVectors) -> Float32Array:
    return normalize_rows(scenes[np.arange(len(scenes))]).astype(np.float32)


def _encode_texts(encoder: AnyEncoder, texts: Sequence[str], config: BaselineConfig) -> Float32Array:
    matrix, rows = encode_texts(encoder, texts, config.embedding_cache)
    return normalize_rows(matrix.gather(rows)).astype(np.float32)


def _encode_prompts(encoder: AnyEncoder, examples: Sequence[Example], config: BaselineConfig) -> Float32Array | None:
    return _encode_texts(encoder, [example.prompt for example in examples], config) if examples[0].prompt else None


def evaluate_baseline(config: BaselineConfig) -> Results:
    """Answer, score, and write predictions.jsonl, scores.jsonl and results.json into `config.output`.

    Raises:
        UserError: if the user can correct the cause.
    """
    if not config.clip.encodes_images:
        raise UserError(
            "clip=precomputed: a baseline encodes texts that are in no file of vectors. Give clip=open_clip with its settings"
        )
    task = build_task(config.task)
    if config.baseline == "zero-shot" and task.zero_shot is None:
        raise UserError(
            f"baseline=zero-shot: the candidates of task={task.name} would be the training captions. Use baseline=nearest"
        )
    training_examples = _load_training_examples(config, task)
    training = task.prepare_for_training(training_examples).examples
    loaded = load_task_examples(
        task.name,
        config.data,
        config.split,
        texts_needed=False,
        images_needed=True,
        joins_rows=task.has_several_answers,
    )
    examples_to_answer = task.prepare_for_testing(loaded.examples, "image")[: config.max_examples]
    encoder = build_encoder(config.clip, config.data, pick_device(config.device), texts_needed=True)
    answers = _select_method(config, task)(encoder, training, examples_to_answer, config)
    predictions = [
        Prediction(example.id, (answer,), (0.0,)) for example, answer in zip(examples_to_answer, answers, strict=True)
    ]
    scores = task.score(examples_to_answer, predictions, config.num_bootstrap)
    scores.notes += tuple(loaded.notes)
    folder = Path(config.output)
    lines = "".join(json.dumps(prediction.as_dict(), ensure_ascii=False) + "\n" for prediction in predictions)
    write_text(folder / "predictions.jsonl", lines)
    write_text(folder / "scores.jsonl", format_score_lines([prediction.id for prediction in predictions], scores))
    leakage = measure_leakage(lambda: training_examples, task.reads, config.data, config.split, examples_to_answer)
    results = _build_results(
        config, task, encoder, examples_to_answer, scores, dict(loaded.skipped), leakage, training_examples
    )
    write_json(folder / "results.json", results.as_dict())
    return results


def _load_training_examples(config: BaselineConfig, task: Task) -> Sequence[Example]:
    """Return the training examples.

    Raises:
        UserError: if they would be the test examples themselves, or cannot be read.
    """
    training = config.training or config.data
    if training.trains_on(config.data, config.split):
        given = "training names the same data" if config.training else "no training data are given"
        remedy = (
            f"data@training={config.data.name} training.path=TRAINING_DATA, with its columns as training.text_column and so on"
            if config.data.is_table
            else "split=test or split=val"
        )
        raise UserError(
            f"{config.data.describe_source()} split={config.split} is the test, and {given}, so every answer would be "
            f"its own reference. Give {remedy}"
        )
    try:
        return load_task_examples(task.name, training, "train").examples
    except UserError as error:
        if config.training is None:
            raise
        raise UserError(f"training: {error}") from error


def _select_method(config: BaselineConfig, task: Task) -> Callable[..., list[str]]:
    """Return the function that answers."""
    if config.baseline == "nearest":
        return find_nearest_answers
    return classify_by_cosine if task.zero_shot == "classify" else choose_answers


_SYSTEM_BY_METHOD: dict[Callable[..., list[str]], tuple[str, str]] = {  # name and data regime
    find_nearest_answers: ("nearest training text", "T0"),
    choose_answers: ("zero-shot, the encoder alone", "T0"),
    classify_by_cosine: ("zero-shot, the encoder alone, cut by shares over the test images", "T1"),
}


def _build_results(
    config: BaselineConfig,
    task: Task,
    encoder: AnyEncoder,
    examples_to_answer: Sequence[Example],
    scores: Scores,
    skipped: dict[str, int],
    leakage: dict[str, Any],
    training_examples: Sequence[Example],
) -> Results:
    system, data_regime = _SYSTEM_BY_METHOD[_select_method(config, task)]
    return Results(
        metrics=scores.metrics,
        intervals={name: list(ends) for name, ends in scores.intervals.items()},
        num_examples=len(examples_to_answer),
        tables=scores.tables,
        num_skipped=sum(skipped.values()),
        skipped=skipped,
        notes=list(scores.notes),
        system=system,
        task=config.task.name,
        data=config.data.name,
        split=config.split,
        scene="image",
        noise=NoiseScale(0.0, encoder.dim).as_dict(),
        data_regime=data_regime,
        training_input_modality="text",
        encoder=encoder.name,
        config={"baseline": config.model_dump(mode="json")},
        data_fingerprint=fingerprint_examples(examples_to_answer),
        references_fingerprint=fingerprint_references(examples_to_answer),
        versions=get_package_versions(),
        git_commit=get_git_commit(),
        leakage=leakage,
        training_data_fingerprint=fingerprint_examples(training_examples),
    )


def main(config: BaselineConfig) -> None:
    """Evaluate a baseline, and print its metrics with their intervals."""
    results = evaluate_baseline(config)
    for name, value in results.metrics.items():
        low, high = results.intervals[name]
        show(f"  {name:<24} {value:.1f} ({low:.1f} to {high:.1f})")
    for note in results.notes:
        show(f"note: {note}")
    leakage = results.leakage or {}
    if leakage.get("num_identical") or leakage.get("num_near") or not leakage["checked"]:
        show(f"leakage: {describe_leakage(leakage)}")
    show(f"results: {config.output}")
