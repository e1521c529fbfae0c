"""VQA accuracy as the official tool computes it, including its quirks, and the simpler score of CLOSE's code.

The official tool is vqaEvaluation/vqaEval.py of GT-Vision-Lab/VQA at commit a013f0043, run under Python 3. The
score is that of arXiv 1505.00468, averaged over leaving out each annotator in turn.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from close_transfer.core.errors import UserError

_ENOUGH_ANNOTATORS = 3  # an answer that as many annotators gave is fully right

_MARKS = (";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`", ",", "?", "!")
_COMMA_IN_NUMBER = re.compile(r"\d,\d")

# Quirk: the official expression begins with `(?!<=\d)`, a mistyped look-behind that matches everywhere,
# so only the condition that no digit follows has an effect.
_PERIOD = re.compile(r"\.(?!\d)")

# Quirk: the official code passes the flag re.UNICODE as the number of substitutions, so 32 periods are removed and
# the 33rd stays.
_NUM_PERIODS = int(re.UNICODE)

_NUMBERS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
    "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
_ARTICLES = frozenset({"a", "an", "the"})

# The official tool's table of 120 entries. Quirks: one entry loses its apostrophe instead of getting it, "let's" and "she's"
# map to themselves, common words are missing (ill, shell, its), and entries with a capital never match because
# words are already in lower case.
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
    """Replace line breaks and tabs by spaces, and strip the ends, as the tool does to every answer."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


def _remove_punctuation(answer: str) -> str:
    """Replace each mark by a space, or remove it if it occurs next to a space.

    Quirks: if the answer has a comma between digits, all marks are removed without a space; the original answer
    decides if a mark is next to a space; apostrophes, colons and currency signs stay.
    """
    has_number_comma = _COMMA_IN_NUMBER.search(answer) is not None
    result = answer
    for mark in _MARKS:
        is_next_to_space = f"{mark} " in answer or f" {mark}" in answer
        result = result.replace(mark, "" if has_number_comma or is_next_to_space else " ")
    return _PERIOD.sub("", result, count=_NUM_PERIODS)


def _normalize_words(answer: str) -> str:
    """Convert to lower case, number words to digits and contractions to standard spelling; remove articles."""
    words = [_NUMBERS.get(word, word) for word in answer.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


@lru_cache(maxsize=200_000)
def normalize_answer(answer: str) -> str:
    """Normalise an answer as the official tool does if annotators disagree.

    Line breaks and tabs come first, then punctuation, then words, so that articles and number words next to
    punctuation are found. "none" becomes "0", and an answer that is only an article becomes empty.
    """
    return _normalize_words(_remove_punctuation(_strip_breaks(answer)))


def compute_vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Compute the accuracy of one answer in 0..1, exactly as the official tool does before it rounds.

    Each annotator is left out in turn and gives a score of min(1, matching answers of the others / 3). The accuracy is
    the mean of these scores. Quirk: if all annotators give the same answer (except for line breaks, tabs and ends),
    nothing is normalised, so "Yes" and "yes." are wrong if all annotators answered "yes".

    A single answer cannot be left out: the official tool gives 0 to every prediction. Its score is the simple one here.

    Args:
        prediction: the answer to score.
        answers: one answer per annotator, normally ten. The tool compares whole records to leave out an annotator;
            official records contain the annotator's number, so it leaves out exactly one, as here.

    Raises:
        UserError: if there are no answers.
    """
    if not answers:
        raise UserError("a question without annotators' answers cannot be scored. Use a split that has answers")
    if len(answers) == 1:
        return compute_simple_vqa_accuracy(prediction, answers)
    predicted = _strip_breaks(prediction)
    compared = [_strip_breaks(answer) for answer in answers]
    if len(set(compared)) > 1:
        predicted = normalize_answer(predicted)
        compared = [normalize_answer(answer) for answer in compared]
    matches = [answer == predicted for answer in compared]
    total = sum(matches)
    return sum(min(1.0, (total - match) / _ENOUGH_ANNOTATORS) for match in matches) / len(matches)


def compute_simple_vqa_accuracy(
    prediction: str, answers: Sequence[str], counting: Literal["summed", "overwritten"] = "summed"
) -> float:
    """Compute the simpler score min(1, matching answers / 3) in 0..1, which CLOSE's code reports as VQA accuracy.

    All answers are normalised, even if annotators agree, and no annotator is left out. The score is never below
    the official score of the same normalised answers: one match of ten gives 1/3 here and 0.3 there. A question with one
    answer only has one that can match, so a match is fully right when counting "summed".

    Args:
        prediction: the answer to score.
        answers: one answer per annotator.
        counting: "summed" counts all spellings that normalise to the answer; "overwritten" counts only the last of
            these spellings, as CLOSE's code does.
    """
    predicted = normalize_answer(prediction)
    if counting == "summed":
        count = sum(normalize_answer(answer) == predicted for answer in answers)
        enough = _ENOUGH_ANNOTATORS if len(answers) > 1 else 1
    else:
        spellings = [answer for answer in dict.fromkeys(answers) if normalize_answer(answer) == predicted]
        count = list(answers).count(spellings[-1]) if spellings else 0
        enough = _ENOUGH_ANNOTATORS
    return min(1.0, count / enough)


def describe_answer_counts(answers: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return notes about questions with too few answers for the official score; empty if all have four or more."""
    num_single = sum(len(given) == 1 for given in answers)
    num_few = sum(1 < len(given) <= _ENOUGH_ANNOTATORS for given in answers)
    notes = []
    if num_single:
        notes.append(
            f"accuracy: {num_single:,} of {len(answers):,} questions have one answer, so their score is the simple one "
            "(right if the normalised answers are equal), because no annotator can be left out"
        )
    if num_few:
        notes.append(
            f"accuracy: {num_few:,} of {len(answers):,} questions have two or three answers, so the official score of a "
            "right answer is 33 or 67 at most; accuracy_simple counts all of them"
        )
    return tuple(notes)
