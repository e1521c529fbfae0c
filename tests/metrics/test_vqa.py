"""VQA accuracy against the official tool (GT-Vision-Lab/VQA, vqaEvaluation/vqaEval.py at a013f0043, its head).

Expected values of the small cases are worked out by hand from that source; each says how. Of ten
annotators n match: 1 gives 9 * 1/3 / 10 = 0.3, 2 give (2 * 1/3 + 8 * 2/3) / 10 = 0.6,
3 give (3 * 2/3 + 7) / 10 = 0.9, 4 or more give 1.
"""

import gzip
import json
import os
from pathlib import Path

import pytest

from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example, Prediction
from close_transfer.metrics.vqa import compute_simple_vqa_accuracy, compute_vqa_accuracy, normalize_answer
from close_transfer.tasks import TASKS

BLUE = ["blue"] * 6


def split(*fours):
    """Ten answers that do not all agree: these four, and six times "blue"."""
    return [*fours, *BLUE]


@pytest.mark.parametrize(
    ("answer", "normalised"),
    [
        # Punctuation: no space beside the mark, so a space stands in for it.
        ("a/b", "b"),  # "a b", and then the article goes
        ("black/white", "black white"),
        ("t-shirt", "t shirt"),
        ("what?yes!", "what yes"),
        # A space beside one such mark: every one of that mark goes for nothing.
        ("salt- pepper-mill", "salt peppermill"),
        ("yes, no,maybe", "yes nomaybe"),
        # ... but only that mark: the slash has no space beside it.
        ("yes, no/maybe", "yes no maybe"),
        # A comma between digits: all marks in the answer go for nothing.
        ("1,000", "1000"),
        ("1,000-2,000/day", "10002000day"),
        ("a,b", "b"),
        # These are not in the list of marks.
        ("$5", "$5"),
        ("5%", "5%"),
        ("12:30", "12:30"),
        ("it's", "it's"),
        # A period goes unless a digit follows.
        ("yes.", "yes"),
        ("u.s.", "us"),
        ("3.5", "3.5"),
        (".5", ".5"),
        ("5.", "5"),
        ("no.1", "no.1"),
        # The flag in place of a count: 32 periods go.
        ("." * 32, ""),
        ("." * 35, "..."),
        # Words: lower case, digits, articles, contractions.
        ("Two", "2"),
        ("none", "0"),
        ("ten", "10"),
        ("eleven", "eleven"),
        ("one-two", "1 2"),
        ("The dog and a cat", "dog and cat"),
        ("a", ""),
        ("A", ""),
        ("dont", "don't"),
        ("DONT", "don't"),
        ("couldnt've", "couldn't've"),
        ("somebody'd", "somebodyd"),  # the table's slip
        ("Im", "im"),  # in the table as "Im" only, and lower case comes first
        ("its", "its"),  # not in the table
        ("ow's'at", "'ow's'at"),
        # Line breaks and tabs become spaces; a row of spaces becomes one.
        ("two\ndogs", "2 dogs"),
        ("\tyes \n", "yes"),
        ("red   blue", "red blue"),
        # Other spaces are spaces to the split into words, but not beside a mark: "-" gets its own.
        ("red\u00a0- blue", "red blue"),
    ],
)
def test_normalisation(answer, normalised):
    assert normalize_answer(answer) == normalised


@pytest.mark.parametrize(
    ("prediction", "answers", "accuracy"),
    [
        pytest.param("yes", ["yes"] * 10, 1.0, id="all agree"),
        pytest.param("no", ["yes"] * 10, 0.0, id="all agree on another"),
        pytest.param("red", ["red"] + ["blue"] * 9, 0.3, id="1 of 10"),
        pytest.param("red", ["red"] * 2 + ["blue"] * 8, 0.6, id="2 of 10"),
        pytest.param("red", ["red"] * 3 + ["blue"] * 7, 0.9, id="3 of 10"),
        pytest.param("red", ["red"] * 4 + ["blue"] * 6, 1.0, id="4 of 10"),
        pytest.param("", split("a", "the", "red", "red"), 0.6, id="articles alone become the empty answer: 2 of 10"),
        # Where all agree, nothing is normalised, on either side.
        pytest.param("Yes", ["yes"] * 10, 0.0, id="agreed: case counts"),
        pytest.param("yes.", ["yes"] * 10, 0.0, id="agreed: a period counts"),
        pytest.param("2", ["two"] * 10, 0.0, id="agreed: numerals count"),
        pytest.param("dog", ["the dog"] * 10, 0.0, id="agreed: articles count"),
        pytest.param("don't", ["dont"] * 10, 0.0, id="agreed: contractions count"),
        pytest.param("none", ["none"] * 10, 1.0, id="agreed: none stays none"),
        pytest.param(" yes\n", ["yes"] * 10, 1.0, id="agreed: line breaks and ends are no difference"),
        pytest.param("stop sign", ["stop\nsign"] * 10, 1.0, id="agreed: a line break is a space"),
        pytest.param("stop sign", ["stop\tsign"] * 5 + ["stop sign "] * 5, 1.0, id="agreed after tabs and ends"),
        pytest.param("stop sign", ["stop\r\nsign"] * 10, 0.0, id="agreed: a carriage return stays, and one space more"),
        # Where they differ, both sides are normalised.
        pytest.param("Red.", split("red", "Red", "the red", "red!"), 1.0, id="4 spellings of one answer"),
        pytest.param("the red", split("red", "a red", "pink", "pink"), 0.6, id="articles: 2 of 10"),
        pytest.param("dont", split("don't", "dont", "DONT", "do not"), 0.9, id="contractions: 3 of 10"),
        pytest.param("couldnt've", split("couldn't've", "couldn'tve", "could", "x"), 0.6, id="double contraction: 2 of 10"),
        pytest.param("two", split("2", "two", "Two.", "to"), 0.9, id="numerals: 3 of 10"),
        pytest.param("none", split("0", "zero", "nothing", "no"), 0.6, id="none is 0: 2 of 10"),
        pytest.param("1,000", split("1000", "1,000", "1 000", "1.000"), 0.6, id="comma in a number: 2 of 10"),
        pytest.param("$5", split("$5", "5", "5 dollars", "$5.00"), 0.3, id="currency stays: 1 of 10"),
        pytest.param("3.5", split("3.5", "35", "3 5", "3.5."), 0.6, id="period before a digit stays: 2 of 10"),
        pytest.param("u.s.", split("us", "US", "u.s", "u s"), 0.9, id="periods go for nothing: 3 of 10"),
        pytest.param("t-shirt", split("t shirt", "t/shirt", "tshirt", "t- shirt"), 0.9, id="marks: 't- shirt' is 't shirt'"),
        # Every answer is the same once normalised, but they were not the same before.
        pytest.param("YES", ["yes"] * 9 + ["yes."], 1.0, id="differ by a period only"),
        # Fewer annotators: 3 of 3 leaves 2 others each time, 2/3.
        pytest.param("cat", ["cat"] * 3, 2 / 3, id="three annotators, all agree"),
        # One annotator: leave-one-out has no others, so the normalised answer is right or wrong.
        pytest.param("Cat.", ["cat"], 1.0, id="one annotator, right"),
        pytest.param("cat", ["dog"], 0.0, id="one annotator, wrong"),
    ],
)  # fmt: skip
def test_accuracy_is_the_official_one(prediction, answers, accuracy):
    assert compute_vqa_accuracy(prediction, answers) == pytest.approx(accuracy, abs=1e-12)


def test_a_question_without_answers_is_named():
    with pytest.raises(UserError, match="without annotators' answers"):
        compute_vqa_accuracy("yes", [])


@pytest.mark.parametrize(
    ("prediction", "answers", "counting", "accuracy"),
    [
        ("red", ["red"] + ["blue"] * 9, "summed", 1 / 3),
        ("Red.", ["red"], "summed", 1.0),  # the only answer there is
        ("red", ["red"], "overwritten", 1 / 3),  # as CLOSE's code counts it
        ("red", ["red", "red"], "summed", 2 / 3),
        ("red", ["red"] * 3 + ["blue"] * 7, "summed", 1.0),
        ("Yes.", ["yes"] * 10, "summed", 1.0),  # normalised although all agree
        ("red", ["red", "Red", "red."] + ["blue"] * 7, "summed", 1.0),
        ("red", ["red", "Red", "red."] + ["blue"] * 7, "overwritten", 1 / 3),  # the last spelling's count
        ("red", ["red", "Red", "red"] + ["blue"] * 7, "overwritten", 1 / 3),  # "Red" is met last as a new spelling
        ("red", ["Red", "red", "red"] + ["blue"] * 7, "overwritten", 2 / 3),
        ("green", ["red"] * 10, "overwritten", 0.0),
    ],
)
def test_simple_accuracy_counts_to_three(prediction, answers, counting, accuracy):
    assert compute_simple_vqa_accuracy(prediction, answers, counting) == pytest.approx(accuracy)


@pytest.fixture(scope="module")
def annotations():
    folder = os.environ.get("CLOSE_TRANSFER_DATA")
    if not folder:
        pytest.skip("CLOSE_TRANSFER_DATA is not set")
    path = Path(folder, "vqa2", "v2_annotations_valid_subset.json.gz")
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)["annotations"]


def scored(annotations, answer_of):
    examples = [
        Example(
            str(a["question_id"]),
            (),
            references=tuple(one["answer"] for one in a["answers"]),
            category=a["answer_type"],
            subcategory=a["question_type"],
        )
        for a in annotations
    ]
    predictions = [Prediction(e.id, (answer_of(a),), (0.0,)) for e, a in zip(examples, annotations, strict=True)]
    return TASKS["vqa"]().score(examples, predictions, 2).metrics


# What the official tool (see above, run under Python 3 on this file, rounding to two decimals as it does)
# gave for these answers as predictions; question by question its scores and ours were the same doubles.
GOLDEN = {
    "commonest answer": (
        lambda a: a["multiple_choice_answer"],
        {"accuracy": 96.61, "accuracy/other": 93.43, "accuracy/yes/no": 100.0, "accuracy/number": 96.54,
         "accuracy/question_type/how": 79.84, "accuracy/question_type/how many": 97.42,
         "accuracy/question_type/none of the above": 95.18, "accuracy/question_type/what color is the": 98.36,
         "accuracy/question_type/why": 66.21},
    ),
    "second annotator": (
        lambda a: a["answers"][1]["answer"],
        {"accuracy": 86.94, "accuracy/other": 77.76, "accuracy/yes/no": 96.83, "accuracy/number": 86.65,
         "accuracy/question_type/are": 97.45, "accuracy/question_type/how many": 89.02,
         "accuracy/question_type/where are the": 48.67, "accuracy/question_type/why is the": 54.35},
    ),
    "always yes": (
        lambda a: "yes",
        {"accuracy": 20.85, "accuracy/other": 1.06, "accuracy/yes/no": 62.19, "accuracy/number": 0.2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("answers", GOLDEN)
def test_real_questions_score_as_with_the_official_tool(annotations, answers):
    answer_of, expected = GOLDEN[answers]
    metrics = scored(annotations, answer_of)
    assert len(annotations) == 8977
    assert {name: round(metrics[name], 2) for name in expected} == expected
    assert sum(name.startswith("accuracy/question_type/") for name in metrics) == 65
