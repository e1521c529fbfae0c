"""VQA accuracy as the official tool computes it, its quirks included, and the short form of CLOSE's code.

The official tool is vqaEvaluation/vqaEval.py of GT-Vision-Lab/VQA at commit a013f0043, run under Python 3. The
score is that of arXiv 1505.00468, averaged over the annotators left out in turn.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from close_transfer.core.errors import UserError

_ENOUGH = 3  # annotators that make an answer fully right

_MARKS = (";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`", ",", "?", "!")
_COMMA_IN_NUMBER = re.compile(r"\d,\d")

# Quirk: the official expression begins with `(?!<=\d)`, a look-behind gone wrong that holds everywhere,
# so what counts is only that no digit follows.
_PERIOD = re.compile(r"\.(?!\d)")

# Quirk: the flag re.UNICODE stands where the number of substitutions belongs, so 32 periods go and the
# 33rd stays.
_NUM_PERIODS = int(re.UNICODE)

_NUMBERS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
    "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
_ARTICLES = frozenset({"a", "an", "the"})

# The tool's own table, 120 entries. Quirks: somebody'd loses its apostrophe, let's and she's stand for
# themselves, common words are missing (ill, shell, its), and entries with a capital are never met because
# words are in lower case by then.
_CONTRACTIONS = {
    "aint": "ain't", "arent": "aren't", "cant": "can't", "couldve": "could've", "couldnt": "couldn't",
    "couldn'tve": "couldn't've", "couldnt've": "couldn't've", "didnt": "didn't", "doesnt": "doesn't", "dont": "don't",
    "hadnt": "hadn't", "hadnt've": "hadn't've", "hadn'tve": "hadn't've", "hasnt": "hasn't", "havent": "haven't",
    "hed": "he'd", "hed've": "he'd've", "he'dve": "he'd've", "hes": "he's", "howd": "how'd", "howll": "how'll",
    "hows": "how's", "Id've": "I'd've", "I'dve": "I'd've", "Im": "I'm", "Ive": "I've", "isnt": "isn't", "itd": "it'd",
    "itd've": "it'd've", "it'dve": "it'd've", "itll": "it'll", "let's": "let's", "maam": "ma'am",
    "mightnt": "mightn't", "mightnt've": "mightn't've", "mightn'tve": "mightn't've", "mightve": "might've",
    "mustnt": "mustn't", "mustve": "must've", "neednt": "needn't", "notve": "not've", "oclock": "o'clock",
    "oughtnt": "oughtn't", "ow's'at": "'ow's'at", "'ows'at": "'ow's'at", "'ow'sat": "'ow's'at", "shant": "shan't",
    "shed've": "she'd've", "she'dve": "she'd've", "she's": "she's", "shouldve": "should've", "shouldnt": "shouldn't",
    "shouldnt've": "shouldn't've", "shouldn'tve": "shouldn't've", "somebody'd": "somebodyd",
    "somebodyd've": "somebody'd've", "somebody'dve": "somebody'd've", "somebodyll": "somebody'll",
    "somebodys": "somebody's", "someoned": "someone'd", "someoned've": "someone'd've", "someone'dve": "someone'd've",
    "someonell": "someone'll", "someones": "someone's", "somethingd": "something'd",
    "somethingd've": "something'd've", "something'dve": "something'd've", "somethingll": "something'll",
    "thats": "that's", "thered": "there'd", "thered've": "there'd've", "there'dve": "there'd've",
    "therere": "there're", "theres": "there's", "theyd": "they'd", "theyd've": "they'd've", "they'dve": "they'd've",
    "theyll": "they'll", "theyre": "they're", "theyve": "they've", "twas": "'twas", "wasnt": "wasn't",
    "wed've": "we'd've", "we'dve": "we'd've", "weve": "we've", "werent": "weren't", "whatll": "what'll",
    "whatre": "what're", "whats": "what's", "whatve": "what've", "whens": "when's", "whered": "where'd",
    "wheres": "where's", "whereve": "where've", "whod": "who'd", "whod've": "who'd've", "who'dve": "who'd've",
    "wholl": "who'll", "whos": "who's", "whove": "who've", "whyll": "why'll", "whyre": "why're", "whys": "why's",
    "wont": "won't", "wouldve": "would've", "wouldnt": "wouldn't", "wouldnt've": "wouldn't've",
    "wouldn'tve": "wouldn't've", "yall": "y'all", "yall'll": "y'all'll", "y'allll": "y'all'll",
    "yall'd've": "y'all'd've", "y'alld've": "y'all'd've", "y'all'dve": "y'all'd've", "youd": "you'd",
    "youd've": "you'd've", "you'dve": "you'd've", "youll": "you'll", "youre": "you're", "youve": "you've",
}  # fmt: skip


def _strip_breaks(answer: str) -> str:
    """What is done to every answer: line breaks and tabs become spaces, the ends are stripped."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


def _remove_punctuation(answer: str) -> str:
    """Marks out, each for a space, or for nothing if the answer has it beside a space.

    Quirks: one comma between digits anywhere in the answer makes every mark go for nothing; whether a mark
    stands beside a space is looked up in the answer as it was; apostrophes, colons and currency stay.
    """
    has_number_comma = _COMMA_IN_NUMBER.search(answer) is not None
    result = answer
    for mark in _MARKS:
        beside_space = f"{mark} " in answer or f" {mark}" in answer
        result = result.replace(mark, "" if has_number_comma or beside_space else " ")
    return _PERIOD.sub("", result, count=_NUM_PERIODS)


def _normalize_words(answer: str) -> str:
    """Lower case, number words as digits, no articles, contractions with their apostrophes, single spaces."""
    words = [_NUMBERS.get(word, word) for word in answer.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


@lru_cache(maxsize=200_000)
def normalize_answer(answer: str) -> str:
    """The answer as the official tool compares it where annotators disagree.

    Line breaks and tabs, then punctuation, then words, in that order, so articles and number words that
    punctuation hid are still found. "none" is "0", and an answer that is nothing but an article becomes empty.
    """
    return _normalize_words(_remove_punctuation(_strip_breaks(answer)))


def compute_vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Accuracy of one answer in 0..1, exactly as the official tool has it before it rounds.

    Each annotator is left out once; the score is then min(1, matching answers of the others / 3), and the
    mean of those counts. Quirk: if all annotators give the same answer (but for line breaks, tabs and ends),
    nothing is normalised, so "Yes" and "yes." are wrong where everyone said "yes".

    Args:
        prediction: the answer to score.
        answers: one an annotator, normally ten. The tool leaves out annotators whose whole record is the
            same; official records carry an annotator's number, so each stands alone, as here.

    Raises:
        UserError: if there are no answers.
    """
    if not answers:
        raise UserError("a question without annotators' answers cannot be scored; use a split that has answers")
    predicted = _strip_breaks(prediction)
    compared = [_strip_breaks(answer) for answer in answers]
    if len(set(compared)) > 1:
        predicted = normalize_answer(predicted)
        compared = [normalize_answer(answer) for answer in compared]
    matches = [answer == predicted for answer in compared]
    total = sum(matches)
    return sum(min(1.0, (total - match) / _ENOUGH) for match in matches) / len(matches)


def compute_simple_vqa_accuracy(
    prediction: str, answers: Sequence[str], counting: Literal["summed", "overwritten"] = "summed"
) -> float:
    """The short form, min(1, matching answers / 3) in 0..1, that CLOSE's code reports as VQA accuracy.

    Everything is normalised, also where annotators agree; no annotator is left out. It is never below
    the official score of the same normalised answers: one match of ten counts 1/3 here and 0.3 there.

    Args:
        prediction: the answer to score.
        answers: one an annotator.
        counting: "overwritten" does as CLOSE's code does: of several spellings that normalise to the same
            answer, only the one met last counts, not their sum.
    """
    predicted = normalize_answer(prediction)
    if counting == "summed":
        count = sum(normalize_answer(answer) == predicted for answer in answers)
    else:
        spellings = [answer for answer in dict.fromkeys(answers) if normalize_answer(answer) == predicted]
        count = list(answers).count(spellings[-1]) if spellings else 0
    return min(1.0, count / _ENOUGH)
