"""Evaluates a run: feeds it pictures (or text), scores its answers, writes what came out.

An evaluation folder holds `predictions.jsonl`, `results.json` and `report.html`. `results.json` is written
after the predictions, so its presence means that they are complete.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from subprocess import DEVNULL, CalledProcessError, check_output
from typing import Any

import transformers

from close_transfer.config import EvalConfig, TableData, TrainConfig
from close_transfer.decoding import Decoder
from close_transfer.embeddings import SceneVectors, image_scenes, text_scenes
from close_transfer.errors import UserError
from close_transfer.examples import Example, Prediction, data_fingerprint
from close_transfer.files import write_json, write_text
from close_transfer.metrics.bootstrap import Scores
from close_transfer.model import TransferModel
from close_transfer.parts import build_encoder, check_encoder, load_model, pick_device
from close_transfer.runs import find_run, read_run
from close_transfer.sources import load_examples
from close_transfer.tasks import TASKS

_REPORTED_PACKAGES = (
    "close-transfer", "torch", "transformers", "open_clip_torch", "pycocoevalcap", "numpy", "pillow",
)  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: what was asked, what was answered, what it scored."""

    run: Path
    folder: Path
    config: EvalConfig
    train_config: TrainConfig
    facts: dict[str, Any]
    noise: dict[str, float]
    examples: Sequence[Example]
    predictions: Sequence[Prediction]
    scores: Scores
    num_skipped: int

    def results(self) -> dict[str, Any]:
        """The content of results.json."""
        return {
            "metrics": self.scores.metrics,
            "intervals": {name: list(ends) for name, ends in self.scores.intervals.items()},
            "num_examples": len(self.examples),
            "num_skipped": self.num_skipped,
            "task": self.config.task,
            "data": (self.config.data or self.train_config.data).name,
            "split": self.config.split,
            "scene": self.config.scene,
            "noise": self.noise,
            "regime": self.facts["regime"],
            "trained_on": self.facts["trained_on"],
            "validation_input": self.facts["validation_input"],
            "seed": self.train_config.seed,
            "run": str(self.run),
            "checkpoint": self.config.checkpoint,
            "config": {"train": self.train_config.model_dump(mode="json"), "eval": self.config.model_dump(mode="json")},
            "data_fingerprint": data_fingerprint(self.examples),
            "training_data_fingerprint": self.facts["data_fingerprint"],
            "encoder": self.facts["encoder"],
            "versions": {name: version(name) for name in _REPORTED_PACKAGES},
            "git_commit": _git_commit(),
        }


def _git_commit() -> str | None:
    try:
        folder = Path(__file__).parent
        return check_output(["git", "rev-parse", "HEAD"], cwd=folder, text=True, stderr=DEVNULL).strip()
    except (OSError, CalledProcessError):
        return None


def _data_for(config: EvalConfig, trained: TrainConfig):
    data = config.data or trained.data
    if isinstance(data, TableData) and config.data is None:
        raise UserError(
            "the run was trained on data=table, whose file is not a test; give data=table data.path=TEST_FILE"
        )
    return data


def evaluate(config: EvalConfig) -> Evaluation:
    """Evaluates a run and writes its folder.

    Raises:
        UserError: for whatever the user can mend.
    """
    run = find_run(config.run, config.runs, config.task)
    trained, facts = read_run(run)
    if trained.task.name != config.task:
        raise UserError(
            f"task={config.task}: the run at {run} was trained for task={trained.task.name}; give that task, or another run"
        )
    device = pick_device(config.device)
    model, tokenizer = load_model(run, config.checkpoint, device)
    data = _data_for(config, trained)
    task = TASKS[config.task]
    loaded = load_examples(data, config.task, config.split)
    examples = task.for_testing(loaded.examples, config.scene)[: config.max_examples]
    clip = config.clip or trained.clip
    encoder = build_encoder(clip, data, device, texts_needed=config.scene == "text")
    check_encoder(encoder, model)
    scenes = (image_scenes if config.scene == "image" else text_scenes)(encoder, examples, config.store)
    predictions = predict(model, tokenizer, examples, scenes, config.num_beams, task.labels, config.batch_size)
    scores = task.score(examples, predictions, config.num_bootstrap)
    folder = Path(config.output) if config.output else run / f"eval-{config.split}-{config.scene}"
    evaluation = Evaluation(
        run, folder, config, trained, facts, model.config.noise, examples, predictions, scores, loaded.num_skipped
    )
    _write(evaluation)
    return evaluation


def predict(
    model: TransferModel,
    tokenizer: transformers.PreTrainedTokenizerBase,
    examples: Sequence[Example],
    scenes: SceneVectors,
    num_beams: int | None,
    labels: Sequence[str],
    batch_size: int,
) -> list[Prediction]:
    """Answers to examples whose scene vectors are there."""
    beams = num_beams or model.config.task["num_beams"]
    decoder = Decoder(model, tokenizer, beams, batch_size=batch_size)
    return decoder.predict([e.id for e in examples], scenes.__getitem__, [e.prompt for e in examples], labels)


def _write(evaluation: Evaluation) -> None:
    lines = (json.dumps(p.as_dict(), ensure_ascii=False) for p in evaluation.predictions)
    write_text(evaluation.folder / "predictions.jsonl", "".join(line + "\n" for line in lines))
    write_json(evaluation.folder / "results.json", evaluation.results())
