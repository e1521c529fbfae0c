"""Captions that caption scores could get wrong, as tokenised texts, and the scores of pycocoevalcap."""

import random

import numpy as np

CASES = {
    "empty captions": (["", "", "a dog"], [["a dog"], ["", "a cat"], [""]]),
    "one word": (["dog", "cat", "dog"], [["dog"], ["dog", "cat"], ["cat"]]),
    "no shared words": (["a b c d e", "f g"], [["h i j k l", "m"], ["n o p"]]),
    "repeated references": (["a red dog runs", "two cats"], [["a red dog"] * 5, ["two cats", "two cats", "cats"]]),
    "repeated words": (["a a a a a a a", "the the the"], [["a a", "a a a b"], ["the", "the the the the the"]]),
    "equal to a reference": (["a man on a horse", "two cats sit"], [["a man on a horse", "x"], ["two cats sit"]]),
    "one image": (["a red dog"], [["a red dog on the grass", "a dog"]]),
    "other languages": (
        ["ein hund läuft", "犬 が 走る", "собака 🇩🇪"],
        [["ein hund"], ["犬 が", "犬 走る"], ["собака 😀"]],
    ),
    "odd spaces": (["a\u00a0b c", " a  b ", "\u3000"], [["a b c", "a\u00a0b"], ["a b", "  "], ["\u3000 a"]]),
    "a tie of lengths": (["a b c d", "a b"], [["a b c", "a b c d e"], ["a", "a b c"]]),
    "a long caption": (["a man and his dog in the park " * 40, "dog"], [["a dog and a man " * 70, "a man"], ["dog"]]),
}
"""Captions and groups of references by what is odd about them."""

WORDS = ["a", "dog", "the", "犬", "ß", "it's", "z", "\u00a0", "x\u00a0y", "", "🇩🇪", "\u3000", "\x1c"]


def draw_captions(seed):
    """Draw captions of few words, so that many are equal, with one to five references each."""
    rng = random.Random(seed)
    words = WORDS[: rng.randint(1, len(WORDS))]

    def draw():
        return " ".join(rng.choices(words, k=rng.choice([0, 1, 1, 2, 3, 4, 6, 9])))

    references = [[draw() for _ in range(rng.randint(1, 5))] for _ in range(rng.randint(1, 9))]
    references = [[group[0]] * len(group) if rng.random() < 0.2 else group for group in references]
    return [rng.choice(group) if rng.random() < 0.2 else draw() for group in references], references


def score_officially(scorer, hypotheses, references, **settings):
    """Return the score of the corpus and those of the images, by a scorer of pycocoevalcap."""
    groups = dict(enumerate(references))
    corpus, images = scorer.compute_score(groups, {i: [text] for i, text in enumerate(hypotheses)}, **settings)
    return np.array(corpus), np.array(images)
