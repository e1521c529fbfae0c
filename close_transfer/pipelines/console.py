"""Console output of the commands: the plan before the work, the result after it, and the next command."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from close_transfer.config.choices import WORDS_BY_DATA_REGIME
from close_transfer.config.components import ClipConfig
from close_transfer.config.data import DataConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.console import show, show_error
from close_transfer.data.decontamination import suggest_overlap_setting
from close_transfer.data.sources.official_files import find_file
from close_transfer.encoders import AnyEncoder
from close_transfer.encoders.build import find_encoder_warning
from close_transfer.evaluation.record import Evaluation, describe_leakage
from close_transfer.inference.prediction_output import PredictionSummary
from close_transfer.metrics.accuracy import QUESTION_TYPE
from close_transfer.modality_gap.adapter_fitting.for_training import TrainingNoise
from close_transfer.models.network import TransferNetwork
from close_transfer.training.batches import TokenizedExamples
from close_transfer.training.trainer import Outcome, count_steps
from close_transfer.training.training_data import TrainingData

Split = Literal["val", "test"]


def warn_about_encoder(clip: ClipConfig, data: DataConfig | str) -> None:
    """Print a note on standard error if the Picturebook CLIP encodes other data; arguments as of `find_encoder_warning`."""
    if note := find_encoder_warning(clip, data):
        show_error(note)


def warn_about_seen_images(seen: Mapping[str, Any] | None, data: DataConfig, split: str) -> None:
    """Print a warning if the adapters were fitted on the images that are evaluated now."""
    if seen and seen["num_images"] and (seen["data"], seen["split"]) == (data.name, split):
        show_error(
            f"warning: the adapters were fitted on statistics of {seen['num_images']:,} images of split={split} of "
            f"data={data.name}, the split that is evaluated now. Fit them on another split"
        )


def warn_about_own_scorer(evaluation: Evaluation) -> None:
    """Print a warning if CLIPScore uses the encoder that chose the captions."""
    if evaluation.is_scored_by_its_reranker:
        show_error(
            "warning: CLIPScore uses the encoder that chose the captions, so it is biased. Give another one with "
            "clip@clipscore=open_clip clipscore.model=NAME"
        )


def print_plan(
    config: TrainConfig,
    data: TrainingData,
    encoder: AnyEncoder,
    noise: TrainingNoise,
    network: TransferNetwork,
    device: str,
    folder: Path,
    resumes: bool,
) -> None:
    """Print the plan before the first step: the task, data, encoder, model, and where the run is written."""
    num_parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    num_steps = count_steps(config.train, len(data.training.examples))
    on_images = data.input_modality == "image"
    lines = {
        "task": config.task.name,
        "data": f"{config.data.name}: {len(data.scenes):,} scenes, {len(data.training.examples):,} training examples, "
        f"{_count_validated(config, data)} for validation ({describe_validation_input(data, noise)})",
        "trains on": "images of these scenes (upper bound)"
        if on_images
        else WORDS_BY_DATA_REGIME[network.config.data_regime].training,
        "encoder": f"{encoder.name}, {encoder.dim} dimensions, frozen",
        "adapter": " → ".join(config.adapter.names),
        **noise.lines(),
        "model": f"{config.lm.name}, {config.mapper.name} mapper to {config.mapper.num_tokens} tokens, "
        f"{num_parameters:,} trained parameters",
        "training": f"{num_steps:,} steps, batch size {config.train.batch_size}, learning rate {config.train.learning_rate:g}, "
        f"seed {config.seed}",
        "device": device,
        "output": str(folder),
    }
    lines |= {f"note {number}": note for number, note in enumerate(data.notes, start=1)}
    width = max(10, *(len(name) + 1 for name in lines))
    show("resuming:" if resumes else "training:")
    show("\n".join(f"  {name + ':':<{width}} {value}" for name, value in lines.items()), flush=True)


def _count_validated(config: TrainConfig, data: TrainingData) -> str:
    """Return how many examples are used for validation, and out of how many if they are a draw."""
    num_examples, limit = len(data.validation.examples), config.train.max_val_examples
    return f"{num_examples:,}" if num_examples <= limit else f"{limit:,} of {num_examples:,}"


def describe_validation_input(data: TrainingData, noise: TrainingNoise) -> str:
    """Return a description of the validation inputs."""
    if data.input_modality == "image":
        return "images of the same scenes"
    # Under noise, because an image's vector is about as far from its captions' vectors as the noise reaches.
    return data.validation.validation_input + (" under noise" if noise.scale.std else "")


def print_cut_texts(data: TrainingData, encoder: AnyEncoder, training: TokenizedExamples) -> None:
    """Print how many texts, prompts and targets were cut, if any were."""
    num_cut, num_texts = data.count_cut_texts(encoder)
    if num_cut:
        show(f"  note: {num_cut:,} of {num_texts:,} texts are longer than the encoder's context and were cut there")
    if training.num_cut:
        show(
            f"  note: {training.num_cut:,} prompts or targets were cut to task.max_prompt_tokens or "
            "task.max_target_tokens"
        )


def describe_training(config: TrainConfig, folder: Path, outcome: Outcome, script: str) -> str:
    """Return how training ended, the run's folder, and the next command."""
    state = outcome.state
    if outcome.stopped_early:
        command = f"python scripts/{script}.py task={config.task.name} resume={folder}"
        return f"stopped and saved after step {state.step:,}\nto continue, use the same settings and: {command}"
    if outcome.was_finished:
        return f"nothing to do: this run finished before, after {state.step:,} steps: {folder}"
    return (
        f"trained {state.step:,} steps in {state.seconds:.0f} s, best validation loss {state.best_loss:.3f} at step {state.best_step:,}\n"
        f"run:  {folder}\n"
        f"{describe_next_command(config, folder)}"
    )


def describe_next_command(config: TrainConfig, folder: Path) -> str:
    """Return the command that evaluates the run, on images if there are any, with notes on what it needs."""
    data, split = config.data, config.data.find_evaluation_split()
    given = [f"task={config.task.name}", f"run={folder}"]
    notes = []
    vectors = not config.clip.encodes_images
    if not data.has_splits or not data.names_images:
        given += [
            "data=file",
            "data.path=TEST_FILE",
            *(f"data.{name}={column}" for name, column in data.columns.items()),
        ]
        given += [] if vectors or data.names_images else ["data.image_column=IMAGE_COLUMN"]
        notes.append("replace the names in capitals; any other data= of the task works too")
    else:
        given += [] if split == "test" else [f"split={split}"]
        if reason := data.explain_missing_images(split):
            given.append("scene=text")
            notes.append(reason)
        if missing := _list_missing(data, split, texts_needed=bool(reason)):
            notes.append(f"first get {', '.join(missing)}; see docs/data.md")
    given += ["clip=precomputed", "clip.image_embeddings=TEST_VECTORS"] if vectors else []
    command = " ".join(["python scripts/eval_image.py", *map(shlex.quote, given)])
    return "\n".join([f"next: {command}", *(f"      ({note})" for note in notes)])


def _list_missing(data: DataConfig, split: Split, texts_needed: bool) -> list[str]:
    """Return the files of a split that are missing."""
    return [
        str(Path(root, name))
        for root, name in data.list_files(split, texts_needed)
        if find_file(Path(root), name) is None
    ]


def describe_evaluation(evaluation: Evaluation) -> str:
    """Return the metrics with their intervals, possible leakage, and the path of the report."""
    config = evaluation.config
    lines = [f"{config.task} on {len(evaluation.examples):,} examples of {config.split}, scene={config.scene}:"]
    if not evaluation.scores.metrics:
        lines.append("  no scores: the answers are not public. Submit official_results.json to the evaluation server")
        return "\n".join([*lines, f"answers: {evaluation.folder}"])
    for name, value in evaluation.scores.metrics.items():
        if QUESTION_TYPE not in name:  # there are dozens; results.json has them all
            low, high = evaluation.scores.intervals[name]
            lines.append(f"  {name:<24} {value:6.1f}   [{low:.1f}, {high:.1f}]")
    lines += [f"skipped: {count:,} {reason}" for reason, count in evaluation.skipped.items()]
    lines += [f"note: {note}" for note in evaluation.scores.notes]
    leakage = evaluation.leakage
    description = describe_leakage(leakage)
    if leakage.get("num_identical") or leakage.get("num_near"):
        setting = suggest_overlap_setting(evaluation.train_config, evaluation.data, config.split)
        lines.append(f"leakage: {description}" + (f". To leave them out, train with {setting}" if setting else ""))
    elif description and not leakage["checked"]:
        lines.append(f"leakage: {description}")
    lines.append(f"report: {evaluation.folder / 'report.html'}")
    return "\n".join(lines)


def describe_prediction(summary: PredictionSummary) -> str:
    """Return the first answers, the number of answers and their file, and the inputs that could not be read."""
    lines = [f"  {_on_one_line(line)}" for line in summary.first_lines]
    lines += [_on_one_line(f"could not read {entry['id']}: {entry['reason']}") for entry in summary.first_unreadable]
    if more := summary.num_unreadable - len(summary.first_unreadable):
        lines.append(f"could not read {more:,} more")
    if summary.num_unreadable:
        lines.append(f"list of unreadable files: {summary.unreadable_output}")
    if summary.num_other:
        lines.append(f"ignored {summary.num_other:,} files without an image extension")
    lines.append(
        f"{summary.num_predictions:,} predictions, {summary.num_unreadable:,} unreadable files: {summary.output}"
    )
    return "\n".join(lines)


def _on_one_line(text: str) -> str:
    """Return the text with line breaks and control characters escaped, so that it cannot act on a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def format_side_by_side(evaluations: Sequence[Evaluation]) -> str:
    """Return one row per system, with the metrics as columns, and the path of the last report."""
    names = [evaluation.build_results().name for evaluation in evaluations]
    metrics = [name for name in evaluations[-1].scores.metrics if "/" not in name]
    width = max(map(len, names))
    first = evaluations[-1].config
    lines = [
        f"{first.task} on {len(evaluations[-1].examples):,} examples of {first.split}, scene={first.scene}:",
        " " * (width + 2) + "".join(f"  {metric:>6}" for metric in metrics),
    ]
    for name, evaluation in zip(names, evaluations, strict=True):
        values = "".join(f"  {evaluation.scores.metrics[metric]:>{max(6, len(metric))}.1f}" for metric in metrics)
        lines.append(f"  {name:<{width}}{values}")
    lines.append(f"report: {evaluations[-1].folder / 'report.html'}")
    return "\n".join(lines)
