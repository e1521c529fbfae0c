import random

import pytest

from close_transfer.examples import Example
from close_transfer.leakage import evaluation_texts, find_leaks, normalised, training_texts, without_leaks


def counts(training, references):
    leaks = find_leaks(training, references)
    return leaks.num_identical, leaks.num_near


REFERENCE = "A black dog runs across the snow."

IDENTICAL = [
    "a black dog runs across the snow",
    "A  BLACK dog, runs across the snow!",
    "“A black dog” runs across the snow",
]
NEAR = {
    "another order": "Across the snow runs a black dog.",
    "a word missing": "A dog runs across the snow.",
    "a word added": "A big black dog runs across the snow.",
    "a word replaced": "A brown dog runs across the snow.",
    "a repeated word missing": "black dog runs across the snow a a",
}
APART = {
    "two words replaced": "A brown cat runs across the snow.",
    "one replaced and one added": "A big brown dog runs across the snow.",
    "two words missing": "dog runs across the snow",
    "nothing alike": "Two men ride bicycles down a hill.",
    "empty": "",
}


@pytest.mark.parametrize("text", IDENTICAL)
def test_case_punctuation_and_spaces_do_not_hide_a_leak(text):
    assert counts([text], [REFERENCE]) == (1, 0)


@pytest.mark.parametrize("text", NEAR.values(), ids=NEAR)
def test_one_word_of_difference_is_near(text):
    assert counts([text], [REFERENCE]) == (0, 1)
    assert counts([REFERENCE], [text]) == (0, 1)


@pytest.mark.parametrize("text", APART.values(), ids=APART)
def test_more_than_one_word_is_not(text):
    assert counts([text], [REFERENCE]) == (0, 0)


def test_short_texts_count_only_when_identical():
    assert counts(["A dog runs.", "a dog sits"], ["a dog runs", "a dog runs fast here"]) == (1, 0)


def test_compatible_characters_are_the_same():
    assert normalised("\uff34\uff57\uff4f “\ufb01ne” dogs…") == "two fine dogs"


def _by_definition(one, other):
    """One word missing, added or replaced, in any order: by removing words from lists, without hashes."""
    one, other = one.split(), other.split()
    if min(len(one), len(other)) < 5 or abs(len(one) - len(other)) > 1:
        return False
    rest = list(other)
    extra = 0
    for word in one:
        if word in rest:
            rest.remove(word)
        else:
            extra += 1
    return extra <= 1 and len(rest) <= 1


def test_signatures_agree_with_the_definition_on_random_texts():
    draw = random.Random(0)
    texts = [" ".join(draw.choices("abcd", k=draw.randint(4, 8))) for _ in range(60)]
    outcomes = {(one, other): counts([one], [other]) for one in texts for other in texts}
    expected = {
        (one, other): (1, 0) if one == other else (0, int(_by_definition(one, other)))
        for one in texts
        for other in texts
    }
    assert outcomes == expected
    assert 100 < sum(near for _, near in outcomes.values()) < 3000


def test_counts_and_first_pairs_are_told_as_json():
    leaks = find_leaks(
        iter([REFERENCE, "something else", *NEAR.values(), REFERENCE]), iter([REFERENCE, REFERENCE.upper()])
    )
    told = leaks.as_dict()
    assert (told["num_training"], told["num_references"], told["num_identical"], told["num_near"]) == (8, 1, 2, 5)
    assert told["examples"][0] == {"kind": "identical", "training": REFERENCE, "reference": REFERENCE}
    assert len(told["examples"]) == 5
    assert len({pair["training"] for pair in told["examples"]}) == 5


def caption(name, *texts, targets=()):
    return Example(name, texts, targets=targets, references=texts)


def test_leaking_captions_are_removed_and_empty_scenes_go():
    examples = [
        caption("both", REFERENCE, "Two men talk."),
        caption("gone", REFERENCE),
        caption("clean", "A cat sleeps on a red sofa."),
        caption("target", "A cat sleeps.", targets=("A cat sleeps.", NEAR["a word added"])),
        caption("no target left", "A cat sleeps.", targets=(REFERENCE,)),
    ]
    before = examples.copy()
    kept, num_removed = without_leaks(examples, [REFERENCE], "captioning")
    assert [(one.id, one.texts, one.targets) for one in kept] == [
        ("both", ("Two men talk.",), ()),
        ("clean", ("A cat sleeps on a red sofa.",), ()),
        ("target", ("A cat sleeps.",), ("A cat sleeps.",)),
    ]
    assert num_removed == 1 + 1 + 1 + 2
    assert examples == before
    assert counts(training_texts(kept, "captioning"), [REFERENCE]) == (0, 0)
    assert without_leaks(kept, [REFERENCE], "captioning") == (kept, 0)


def test_labels_and_answers_are_no_leaks():
    pair = Example(
        "1", ("A dog runs.",), prompt="An animal moves.", targets=("entailment",), references=("entailment",)
    )
    assert list(training_texts([pair], "snli-ve")) == ["A dog runs."]
    assert list(evaluation_texts([pair], "snli-ve")) == ["A dog runs."]
    assert without_leaks([pair], ["entailment"], "snli-ve") == ([pair], 0)
    assert list(evaluation_texts([caption("2", "A dog.", "A hound.")], "captioning")) == ["A dog.", "A hound."]
    news = Example("3", ("The mayor speaks.",), targets=("The mayor speaks.",), references=("The mayor speaks.",))
    assert list(training_texts([news], "visual-news")) == ["The mayor speaks."]
