"""Picturebook, the built-in dataset: scenes of a split, with captions, hypotheses or questions."""

from collections.abc import Sequence
from functools import partial

from close_transfer.config.data import PicturebookData
from close_transfer.core.atomic_files import fingerprint
from close_transfer.data.example_kinds import PAIRS, QUESTIONS, ExampleKind
from close_transfer.data.examples import Example, ImageRef
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.drawing import draw_scene
from close_transfer.data.picturebook.hypotheses import hypotheses
from close_transfer.data.picturebook.questions import questions
from close_transfer.data.picturebook.scenes import Scene, Split, scenes
from close_transfer.data.sources.loaded import LoadedSplit

# Maximum number of examples per form and label (or family and answer), for each 1,000 scenes. A scene then gets
# about three hypotheses or questions.
_HYPOTHESES_PER_FORM = 34
_QUESTIONS_PER_FORM = 26


def make_image_ref(scene: Scene) -> ImageRef:
    """Return a reference to the image of a scene, which is drawn when it is opened."""
    key = "picturebook:" + fingerprint([repr(scene)])
    return ImageRef(key, open=partial(draw_scene, scene), digest=lambda: key)


def _make_captions(split: str, chosen: Sequence[Scene]) -> list[Example]:
    examples = []
    for number, scene in enumerate(chosen):
        texts = tuple(caption.text for caption in captions(scene))
        examples.append(Example(f"{split}-{number:05d}", texts, make_image_ref(scene), references=texts))
    return examples


def _make_pairs(split: str, chosen: Sequence[Scene], seed: int) -> list[Example]:
    max_per_form = max(1, _HYPOTHESES_PER_FORM * len(chosen) // 1000)
    return [
        Example(
            id=f"{split}-{hypothesis.scene_number:05d}-h{number:05d}",
            texts=(hypothesis.premise,),
            image=make_image_ref(chosen[hypothesis.scene_number]),
            prompt=hypothesis.text,
            references=(hypothesis.label,),
            category=hypothesis.label,
        )
        for number, hypothesis in enumerate(hypotheses(chosen, seed, max_per_form))
    ]


def _make_questions(split: str, chosen: Sequence[Scene], seed: int) -> list[Example]:
    max_per_form = max(1, _QUESTIONS_PER_FORM * len(chosen) // 1000)
    texts = [tuple(caption.text for caption in captions(scene)) for scene in chosen]
    return [
        Example(
            id=f"{split}-{question.scene_number:05d}-q{number:05d}",
            texts=texts[question.scene_number],
            image=make_image_ref(chosen[question.scene_number]),
            prompt=question.text,
            references=question.answers,
            category=question.answer_type,
        )
        for number, question in enumerate(questions(chosen, seed, max_per_form))
    ]


def load(data: PicturebookData, kind: ExampleKind, split: Split) -> LoadedSplit:
    """Return the examples of one split; the same data settings always give the same examples."""
    sizes: dict[Split, int] = {
        "train": data.num_train,
        "val": data.num_val,
        "test": data.num_test,
        "test-novel": data.num_test_novel,
    }
    chosen = scenes(split, sizes[split], data.seed)
    if kind == PAIRS:
        return LoadedSplit(_make_pairs(split, chosen, data.seed))
    if kind == QUESTIONS:
        return LoadedSplit(_make_questions(split, chosen, data.seed))
    return LoadedSplit(_make_captions(split, chosen))
