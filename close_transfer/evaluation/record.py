"""Record of one evaluation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from close_transfer.config.data import DataConfig
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.data.examples import Example, Prediction, fingerprint_examples
from close_transfer.evaluation.official_formats import fingerprint_references
from close_transfer.evaluation.provenance import get_git_commit, get_package_versions
from close_transfer.evaluation.results import Results
from close_transfer.metrics.bootstrap import Scores

NOT_ASKED = "leakage=false"  # reason of an unchecked leakage that reports leave out


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: examples, predictions and scores, with all that results.json states about them.

    Attributes:
        run: folder of the evaluated run.
        folder: folder that the evaluation is written to.
        config, train_config: settings of the evaluation, and of the run.
        data: settings of the data that the examples are from.
        facts: facts about the run, as its facts.json has them.
        noise: noise of training, as results.json has it.
        predictions: one prediction per example.
        skipped: number of entries left out, by reason.
        leakage: overlap of training text and evaluation text, as results.json has it.
        scorer: name and fingerprint of CLIPScore's encoder; None if it was not used.
        reranker: facts about the re-ranking of candidates, as `Reranker.facts`; None without it.
        text_memory: facts about the texts that vectors were projected on; empty if they were not.
    """

    run: Path
    folder: Path
    config: EvaluateConfig
    train_config: TrainConfig
    data: DataConfig
    facts: dict[str, Any]
    noise: dict[str, Any]
    examples: Sequence[Example]
    predictions: Sequence[Prediction]
    scores: Scores
    skipped: Counter[str]
    leakage: dict[str, Any]
    scorer: dict[str, Any] | None
    reranker: dict[str, Any] | None
    text_memory: dict[str, Any]

    @property
    def is_scored_by_its_reranker(self) -> bool:
        """Return True if CLIPScore's encoder also re-ranked the captions, which biases the score."""
        return bool(self.scorer and self.reranker and self.scorer["fingerprint"] == self.reranker["fingerprint"])

    def build_results(self) -> Results:
        """Return the content of results.json."""
        return Results(
            metrics=self.scores.metrics,
            intervals={name: list(ends) for name, ends in self.scores.intervals.items()},
            num_examples=len(self.examples),
            tables=self.scores.tables,
            num_skipped=self.skipped.total(),
            skipped=dict(self.skipped),
            notes=list(self.scores.notes),
            leakage=self.leakage,
            task=self.config.task,
            data=self.data.name,
            split=self.config.split,
            scene=self.config.scene,
            noise=self.noise,
            text_memory=self.text_memory,
            statistics=self.facts["statistics"],
            data_regime=self.facts["data_regime"],
            training_input_modality=self.facts["input_modality"],
            validation_input=self.facts["validation_input"],
            seed=self.train_config.seed,
            run=str(self.run),
            checkpoint=self.config.checkpoint,
            config={"train": self.train_config.model_dump(mode="json"), "eval": self.config.model_dump(mode="json")},
            data_fingerprint=fingerprint_examples(self.examples),
            references_fingerprint=fingerprint_references(self.examples),
            training_data_fingerprint=self.facts["data_fingerprint"],
            encoder=self.facts["encoder"],
            encoder_fingerprint=self.facts["encoder_fingerprint"],
            clipscore_encoder=self.scorer["name"] if self.scorer else None,
            reranked_by=self.reranker,
            scored_by_its_reranker=self.is_scored_by_its_reranker,
            versions=get_package_versions(),
            git_commit=get_git_commit(),
        )


def describe_leakage(leakage: dict[str, Any]) -> str:
    """Describe the overlap of training and evaluation text; empty if it was not requested.

    Args:
        leakage: leakage as results.json has it.
    """
    if not leakage["checked"]:
        return "" if leakage["reason"] == NOT_ASKED else f"not checked, because {leakage['reason']}"
    return (
        f"{leakage['num_identical']:,} of {leakage['num_training']:,} training texts are identical to an evaluation "
        f"text, and {leakage['num_near']:,} nearly identical"
    )
