"""Evaluation of a run: give it images (or text), score its answers, write predictions, results and a report.

An evaluation folder holds `predictions.jsonl`, `results.json` and `report.html`. `results.json` is renamed
into place after the predictions, so they are complete if it exists. Until then a journal holds the answers,
and running the same command again continues from it.
"""

from pathlib import Path

import numpy as np

from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.atomic_files import remove_stale
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.data.decontamination import check_leakage
from close_transfer.encoders.build import build_encoder
from close_transfer.encoders.embeddings import encode_image_scenes, encode_text_scenes
from close_transfer.evaluation.evaluation_folder import write_evaluation
from close_transfer.evaluation.extra_metrics import check_extra_metrics, score_predictions
from close_transfer.evaluation.record import NOT_ASKED, Evaluation
from close_transfer.inference.batch_size import choose_batch_size
from close_transfer.inference.build_text_memory import build_text_memory
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.decoding_precision import resolve_decoding_precision
from close_transfer.inference.journal import PredictionJournal, fingerprint_inputs
from close_transfer.inference.loading import check_encoder, load_model
from close_transfer.inference.reranking import Reranker, build_decoding
from close_transfer.models.device import pick_device
from close_transfer.pipelines import console
from close_transfer.reports.evaluation_report import ComparedEvaluation, write_report
from close_transfer.tasks import build_task
from close_transfer.tasks.loading import load_task_examples
from close_transfer.training.run_folder import RunFolder
from close_transfer.training.runs import find_run, read_run


def evaluate(config: EvaluateConfig) -> Evaluation:
    """Evaluate a run, and write its folder.

    Raises:
        UserError: if the user can correct the cause.
    """
    # 1. The run, its network, and the test data.
    run = find_run(config.run, config.runs, config.task)
    trained, facts = read_run(run)
    if trained.task.name != config.task:
        raise UserError(
            f"task={config.task}: the run at {run} was trained for task={trained.task.name}. Give that task, or another run"
        )
    device = pick_device(config.device)
    # The results name the precision of the texts, so not "auto".
    precision = resolve_decoding_precision(config.decoding_precision, device)
    config = config.model_copy(update={"decoding_precision": precision})
    model, tokenizer = load_model(run, config.checkpoint, device, config.base_model)
    facts |= {"statistics": model.config.statistics}
    data, clip, task = _choose_data(config, trained), config.clip or trained.clip, build_task(trained.task)
    console.warn_about_seen_images(model.config.statistics, data, config.split)
    console.warn_about_encoder(clip, data)
    on_images = config.scene == "image"
    loaded = load_task_examples(
        task.name,
        data,
        config.split,
        texts_needed=not on_images,
        images_needed=on_images and clip.encodes_images,
        joins_rows=on_images and task.has_several_answers,
    )
    examples = task.prepare_for_testing(loaded.examples, config.scene)[: config.max_examples]
    leakage = {"checked": False, "reason": NOT_ASKED}
    if config.leakage:
        leakage = check_leakage(trained, task.reads, data, config.split, examples)
    check_extra_metrics(config.extra_metrics, config.clipscore or clip)  # before hours of decoding

    # 2. The test scenes as vectors.
    encoder = build_encoder(clip, data, device, texts_needed=not on_images)
    check_encoder(encoder, model)
    encode = encode_image_scenes if on_images else encode_text_scenes
    scenes = encode(encoder, examples, config.embedding_cache)

    # 3. Answers; those in the journal are not generated again.
    reranker = Reranker(config, clip, task.labels, device) if config.rerank else None
    model.text_memory, text_memory = build_text_memory(config, trained, model, device)
    decoding = build_decoding(config, model)
    batch_size = config.batch_size or choose_batch_size(model, decoding)
    decoder = Decoder(model, tokenizer, decoding, batch_size, config.scene)
    folder = _choose_folder(config, run)
    checkpoint = {"checkpoint": RunFolder(run).fingerprint(config.checkpoint)}
    key = checkpoint | fingerprint_inputs(examples, scenes) | decoder.key | text_memory
    with PredictionJournal(folder / "predictions.jsonl", key) as journal:
        remove_stale(folder)
        prompts = [example.prompt for example in examples]
        ids = [example.id for example in examples]
        predictions = decoder.predict(ids, scenes.__getitem__, prompts, task.labels, journal)
        if reranker is not None:
            vectors = encode(reranker.encoder, examples, config.embedding_cache)[np.arange(len(examples))]
            predictions = reranker(predictions, vectors)

        # 4. Scores, and the evaluation folder.
        scores, scorer = score_predictions(config, task, clip, examples, predictions, device)
        scores.notes += tuple(loaded.notes)
        evaluation = Evaluation(
            run, folder, config, trained, data, facts, model.config.noise, examples, predictions, scores, loaded.skipped,
            leakage, scorer, reranker.facts if reranker else None, text_memory,
        )  # fmt: skip
        console.warn_about_own_scorer(evaluation)
        write_evaluation(evaluation)
        journal.remove()
    return evaluation


def _choose_data(config: EvaluateConfig, trained: TrainConfig):
    data = config.data or trained.data
    if not data.has_splits and config.data is None:
        raise UserError("the run was trained on data=file, which has no test split. Give data=file data.path=TEST_FILE")
    return data


def _choose_folder(config: EvaluateConfig, run: Path) -> Path:
    """Return the evaluation folder; its name holds the data's name if they are not the run's."""
    own = [config.data.name] if config.data else []
    return Path(config.output) if config.output else run / "-".join(["eval", *own, config.split, config.scene])


def main(config: EvaluateConfig) -> None:
    """Evaluate, write the report, and print the metrics."""
    others = [ComparedEvaluation.read(Path(folder)) for folder in config.compare]
    evaluation = evaluate(config)
    if evaluation.scores.metrics:
        write_report(evaluation, others)
    show(console.describe_evaluation(evaluation))
