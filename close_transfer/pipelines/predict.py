"""Predictions for a user's own images or vectors: a file, a folder, a matrix.

The inputs are processed in batches, so memory does not grow with their number. A journal holds the answers, so
running the same command again continues after a kill.
"""

import sys
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from close_transfer.config.predict import PredictConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.arrays import Float32Array
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.core.output_paths import is_standard_output
from close_transfer.data.examples import Prediction
from close_transfer.data.sources.own_rows import find_columns
from close_transfer.inference.build_text_memory import build_text_memory
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.journal import PredictionJournal
from close_transfer.inference.loading import load_encoder_settings, load_model, load_task_settings
from close_transfer.inference.prediction_inputs import PredictionInputs, Unreadable, open_inputs
from close_transfer.inference.prediction_output import PredictionSummary, stream_predictions, write_predictions
from close_transfer.inference.reranking import Reranker, build_decoding
from close_transfer.models.device import pick_device
from close_transfer.pipelines.console import describe_prediction
from close_transfer.tasks import TASKS, build_task, get_task
from close_transfer.training.run_folder import RunFolder
from close_transfer.training.runs import find_run, is_saved_model, read_run


def predict_files(config: PredictConfig) -> PredictionSummary | None:
    """Write one JSON line per image or vector: id, prediction, candidates, scores.

    Inputs that cannot be read are listed with the reason in `<output>.unreadable.jsonl`. Standard output gets each
    answer at once: there is no journal and no summary, and unreadable inputs are logged.

    Raises:
        UserError: if the user can correct the cause, or if no input could be read.
    """
    # 1. The model, and a check that it can answer this request.
    run, checkpoint, trained = _find_model(config)
    device = pick_device(config.device)
    model, tokenizer = load_model(run, checkpoint, device, config.base_model)
    task, clip = load_task_settings(model), trained.clip if trained else load_encoder_settings(model)
    if task.name != config.task:
        raise UserError(
            f"task={config.task}: the model at {run} was trained for task={task.name}. Give that task, or another run"
        )
    labels, prompt = build_task(task).labels, config.prompt or task.prompt or ""
    _check_request(config, getattr(trained.data, "prompt", None) if trained else None)

    # 2. Decoding: images or vectors in, candidates out, re-ranked if asked for.
    decoder = Decoder(model, tokenizer, build_decoding(config, model), config.batch_size, config.scene)
    inputs = open_inputs(config, model, clip, device)
    model.text_memory, text_memory = build_text_memory(config, trained, model, device)
    reranker = Reranker(config, clip, labels, device) if config.rerank else None

    def answer_batch(start: int, end: int, names: list[str], vectors: Float32Array) -> list[Prediction]:
        predictions = decoder.predict_batch(names, vectors, [prompt] * len(names), labels)
        if reranker is None:
            return predictions
        compared = vectors if reranker.is_own else inputs.encode_with(reranker.encoder, start, end, names)
        return reranker(predictions, compared)

    # 3. Batch by batch into the journal, and from the journal into the output.
    if is_standard_output(config.output):
        with closing(_iterate_answers(inputs, answer_batch, config, 0)) as batches:
            stream_predictions(inputs, batches, sys.stdout)
        return None
    key = {"checkpoint": RunFolder(run).fingerprint(checkpoint), "prompt": prompt}
    key |= {"reranker": reranker.facts["fingerprint"]} if reranker else {}
    with PredictionJournal(Path(config.output), key | inputs.key | decoder.key | text_memory) as journal:
        _answer_batches(inputs, answer_batch, config, journal)
        summary = write_predictions(inputs, Path(config.output), journal)
        journal.remove()
    return summary


def _find_model(config: PredictConfig) -> tuple[Path, str, TrainConfig | None]:
    """Return the run's folder, checkpoint and settings; a saved model is its own checkpoint and has no settings."""
    if config.run != "latest" and is_saved_model(Path(config.run)):
        if config.checkpoint != "best":
            raise UserError(
                f"checkpoint={config.checkpoint}: run={config.run} is one saved model. Leave checkpoint out, or give the run's "
                "folder"
            )
        return Path(config.run).resolve(), ".", None
    run = find_run(config.run, config.runs, config.task)
    return run, config.checkpoint, read_run(run)[0]


def _answer_batches(
    inputs: PredictionInputs,
    answer_batch: Callable[..., list[Prediction]],
    config: PredictConfig,
    journal: PredictionJournal,
) -> None:
    """Answer the batches that are not in the journal yet; arguments as of `_iterate_answers`."""
    done = min(inputs.num, journal.num_batches * config.batch_size)
    starts = range(done, inputs.num, config.batch_size)
    # Closed, so that the bar ends before an error is shown.
    with closing(_iterate_answers(inputs, answer_batch, config, done)) as batches:
        for start, (answers, unreadable) in zip(starts, batches, strict=True):
            journal.append(start, {"predictions": [asdict(answer) for answer in answers], "unreadable": unreadable})


def _iterate_answers(
    inputs: PredictionInputs, answer_batch: Callable[..., list[Prediction]], config: PredictConfig, done: int
) -> Generator[tuple[list[Prediction], list[Unreadable]]]:
    """Yield the answers of each batch, and its inputs that could not be read.

    Args:
        inputs: images or vectors to answer.
        answer_batch: function that answers a batch, given its start, its end, and the ids and vectors of the inputs
            that could be read.
        config: batch size, and kind of input.
        done: number of inputs that are answered already.
    """
    size = config.batch_size
    ranges = [(start, min(start + size, inputs.num)) for start in range(done, inputs.num, size)]
    bar = tqdm(total=inputs.num, initial=done, unit="image" if config.images else "vector", desc="predicting")
    with bar, closing(inputs.iterate_batches(ranges)) as batches:
        for (start, end), (names, vectors, unreadable) in zip(ranges, batches, strict=True):
            yield answer_batch(start, end, names, vectors) if names else [], unreadable
            bar.update(end - start)


def _check_prompt(config: PredictConfig, template: str | None) -> None:
    """Check that the prompt fits the template of the training data, with its columns filled in.

    Raises:
        UserError: if it is empty, or if a column is not filled in.
    """
    if template is None or (
        config.prompt and not any(f"{{{name}}}" in config.prompt for name in find_columns(template))
    ):
        return
    problem = "has braces that are not filled in" if config.prompt else "is empty"
    raise UserError(
        f"prompt={config.prompt}: {problem}, but the run was trained on data.prompt={template!r}. Give prompt='...' with "
        "these words, and with text in place of every name in braces"
    )


def _check_request(config: PredictConfig, template: str | None) -> None:
    _check_prompt(config, template)
    kind = get_task(config.task).reads
    if kind.prompt == "required" and not config.prompt:
        raise UserError(f"task={config.task} needs a {kind.prompt_name}. Give prompt='...'")
    if kind.prompt == "none" and config.prompt:
        tasks = ", ".join(name for name, task in TASKS.items() if task.reads.prompt == "required")
        raise UserError(
            f"prompt={config.prompt}: task={config.task} takes no prompt. Leave it out, or use one of task={tasks}"
        )
    output = Path(config.output)
    for given in (config.images, config.embeddings, config.text_memory_file):
        if given and output.exists() and Path(given).exists() and output.samefile(given):
            raise UserError(f"output={output}: is also an input, and would be overwritten. Give another output=")


def main(config: PredictConfig) -> None:
    """Predict, and print the first answers and the path of all of them."""
    if summary := predict_files(config):
        show(describe_prediction(summary))
