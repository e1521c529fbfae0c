"""Captioning, trained to write the input caption itself, or the other captions of its scene.

CLOSE (arXiv 2211.09778, section 4.1): in the single-caption setting a caption is both input and
target; in the multi-caption setting the targets are all other captions of the scene.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from close_transfer.config.choices import InputModality
from close_transfer.core.errors import UserError
from close_transfer.data.example_kinds import CAPTIONS
from close_transfer.data.example_sequences import ExamplesPerText
from close_transfer.data.examples import Example, Prediction
from close_transfer.metrics.bootstrap import Scores
from close_transfer.metrics.captions import score_captions
from close_transfer.tasks.task import PreparedExamples, Task

Texts = tuple[str, ...]
ChooseTexts = Callable[[Texts, int], Texts]  # takes a scene's captions and the number of one


def _exclude_caption(captions: Sequence[str], number: int) -> tuple[str, ...]:
    return tuple(captions[:number]) + tuple(captions[number + 1 :])


def _exclude_input(references: Sequence[str], text: str) -> tuple[str, ...]:
    """Return the references without the input text; all of them if they come from elsewhere and do not hold it."""
    return _exclude_caption(references, references.index(text)) if text in references else tuple(references)


def _choose_caption(captions: Texts, number: int) -> Texts:
    return captions if len(captions) == 1 else (captions[number],)


def _choose_next_caption(captions: Texts, number: int) -> Texts:
    return (captions[(number + 1) % len(captions)],)


def _choose_other_captions(captions: Texts, number: int) -> Texts:
    return _exclude_caption(captions, number) or captions


class _Captioning(Task):
    reads = CAPTIONS
    settings = ("prompt", "language")
    ability = "captions images"
    method = "caption"
    official_fields = ("image_id", "caption")
    writes_captions = True
    zero_shot = None  # candidates would be the training captions, which is the nearest-text baseline

    def __init__(self, prompt: str = "", language: str = "en") -> None:
        """Set the words that start every caption, and the language (ISO 639) in which captions are scored."""
        self._prompt = prompt
        self._language = language

    @classmethod
    def get_results_group(cls) -> str:
        """Return one name for both tasks: they differ in training only, so their results are comparable."""
        return Captioning.name

    def _expand(
        self, scenes: Sequence[Example], choose_text: ChooseTexts, choose_targets: ChooseTexts
    ) -> ExamplesPerText:
        """Return an example for each caption, with the texts and targets that the functions choose."""

        def build(scene: Example, number: int) -> Example:
            texts, targets = choose_text(scene.texts, number), choose_targets(scene.texts, number)
            return Example(
                f"{scene.id}#{number}", texts, scene.image, self._prompt or scene.prompt, targets, scene.references,
                scene.category, scene.subcategory,
            )  # fmt: skip

        return ExamplesPerText(scenes, build, choose_text)

    def _add_prompt(self, examples: list[Example]) -> list[Example]:
        return [replace(e, prompt=self._prompt) for e in examples] if self._prompt else examples

    def prepare_for_validation(self, examples: Sequence[Example]) -> PreparedExamples:
        grouped = [e for e in examples if len(e.texts) > 1]
        if not grouped:
            return PreparedExamples(self._expand(examples, _choose_caption, _choose_caption), "the same text")
        shaped = self._expand(grouped, _choose_next_caption, _choose_caption)
        left_out = len(examples) - len(grouped)
        notes = (f"{left_out} scenes with a single caption are not used for validation",) if left_out else ()
        return PreparedExamples(shaped, "another caption of the same scene", notes)

    def prepare_for_testing(self, examples: Sequence[Example], input_modality: InputModality) -> list[Example]:
        if input_modality == "image":
            return self._add_prompt(list(examples))
        # The first caption replaces the image as the input, so it must not be a reference as well.
        shaped = [replace(e, texts=e.texts[:1], references=_exclude_input(e.references, e.texts[0])) for e in examples]
        shaped = [e for e in shaped if e.references]
        if not shaped:
            raise UserError(
                "scene=text: every scene has one caption only, which would be input and reference at once. Use "
                "scene=image, or data with several captions per scene"
            )
        return self._add_prompt(shaped)

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction], num_resamples: int) -> Scores:
        return score_by_category(examples, predictions, num_resamples, self._language)


def score_by_category(
    examples: Sequence[Example], predictions: Sequence[Prediction], num_resamples: int, language: str = "en"
) -> Scores:
    """Score captions over all examples and, if there are several categories, for each category separately.

    A category (a domain of NoCaps) is scored as a separate evaluation set, with its own document frequencies, as in
    the paper and all published tables.
    """

    def score_rows(rows: Sequence[int]) -> Scores:
        hypotheses = [predictions[row].text for row in rows]
        references = [examples[row].references for row in rows]
        return score_captions(hypotheses, references, num_resamples, language=language)

    scores = score_rows(range(len(examples)))
    categories = sorted({example.category for example in examples} - {""})
    for category in categories if len(categories) > 1 else []:
        category_scores = score_rows([row for row, example in enumerate(examples) if example.category == category])
        scores.metrics |= {f"{name}/{category}": value for name, value in category_scores.metrics.items()}
        scores.intervals |= {f"{name}/{category}": ends for name, ends in category_scores.intervals.items()}
    return scores


class Captioning(_Captioning):
    """Every caption is an input and its own target ("1to1" in the paper's code)."""

    name = "captioning"

    def prepare_for_training(self, examples: Sequence[Example]) -> PreparedExamples:
        return PreparedExamples(self._expand(examples, _choose_caption, _choose_caption))


class CaptioningMulti(_Captioning):
    """Every caption is an input once; its targets are the other captions of the scene."""

    name = "captioning-multi"

    def prepare_for_training(self, examples: Sequence[Example]) -> PreparedExamples:
        num_single = sum(len(e.texts) == 1 for e in examples)
        if num_single == len(examples):
            raise UserError(
                f"task=captioning-multi: none of the {len(examples)} scenes has a second caption to write from the first. "
                "Use task=captioning, or name the column that groups captions with data.group_column"
            )
        shaped = self._expand(examples, _choose_caption, _choose_other_captions)
        notes = (f"{num_single} scenes have one caption only, which is its own target",) if num_single else ()
        return PreparedExamples(shaped, notes=notes)
