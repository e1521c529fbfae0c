import pytest

from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example, Prediction
from close_transfer.tasks import TASKS
from close_transfer.tasks.vqa import choose_targets

SCENE = Example("s", ("one", "two", "three"), references=("one", "two", "three"))
LONELY = Example("l", ("only",), references=("only",))


def test_single_captioning_writes_each_caption_from_itself():
    shaped = TASKS["captioning"]().prepare_for_training([SCENE, LONELY])
    assert [(e.texts, e.targets) for e in shaped.examples] == [((t,), (t,)) for t in ("one", "two", "three", "only")]
    assert len({e.id for e in shaped.examples}) == 4


def test_multi_captioning_writes_the_others_and_encodes_the_scene_once():
    shaped = TASKS["captioning-multi"]().prepare_for_training([SCENE, LONELY])
    assert [(e.texts, e.targets) for e in shaped.examples] == [
        (("one",), ("two", "three")),
        (("two",), ("one", "three")),
        (("three",), ("one", "two")),
        (("only",), ("only",)),
    ]
    assert shaped.notes == ("1 scenes have one caption only, which is its own target",)


@pytest.mark.parametrize("task", ["captioning", "captioning-multi"])
def test_captioning_is_validated_on_another_caption_of_the_scene(task):
    shaped = TASKS[task]().prepare_for_validation([SCENE, LONELY])
    assert shaped.validation_input == "another caption of the same scene"
    assert all(e.texts[0] != e.targets[0] for e in shaped.examples)
    assert {e.targets[0] for e in shaped.examples} == {"one", "two", "three"}


def test_ungrouped_captions_are_validated_on_the_same_text():
    assert TASKS["captioning"]().prepare_for_validation([LONELY]).validation_input == "the same text"


def test_captions_from_text_are_not_scored_against_their_input():
    (asked,) = TASKS["captioning"]().prepare_for_testing([SCENE, LONELY], "text")
    assert asked.texts == ("one",)
    assert asked.references == ("two", "three")
    with pytest.raises(UserError, match="input and reference at once"):
        TASKS["captioning"]().prepare_for_testing([LONELY], "text")


def test_references_that_do_not_hold_the_input_are_all_kept():
    own = Example("o", ("two dogs in the snow", "dogs"), references=("two dogs are in the snow", "a pair of dogs"))
    single = Example("p", ("a boat",), references=("one red boat",))
    twice = Example("q", ("a dog", "a hound"), references=("a hound", "a dog", "a dog"))
    asked = TASKS["captioning"]().prepare_for_testing([own, single, twice], "text")
    assert [e.references for e in asked] == [own.references, single.references, ("a hound", "a dog")]


@pytest.mark.parametrize(
    ("answers", "targets"),
    [
        (["yes"] * 10, ("yes",)),
        (["red"] * 6 + ["pink"] * 4, ("red", "pink")),
        (["red"] * 8 + ["pink"] * 2, ("red",)),
        (["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], tuple("abcdefghij")),
        (["2"] * 2 + ["3"] * 2 + ["4"], ("2", "3")),
    ],
)
def test_vqa_targets_are_answers_with_agreement(answers, targets):
    assert choose_targets(answers) == targets


def predicted(label, candidate):
    return Prediction("x", (candidate,), (0.0,), label, (0.0, 0.0, 0.0))


def test_entailment_is_scored_by_likelihood_and_by_generation():
    examples = [
        Example(str(i), ("p",), prompt="h", references=(g,), category=g)
        for i, g in enumerate(["entailment", "neutral"])
    ]
    predictions = [predicted("entailment", "neutral"), predicted("neutral", "neutral")]
    metrics = TASKS["snli-ve"]().score(examples, predictions, 10).metrics
    assert metrics["accuracy"] == 100
    assert metrics["accuracy_generated"] == 50
    assert metrics["accuracy/neutral"] == 100
