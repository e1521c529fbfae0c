"""The test of composition: its captions, swaps and twins."""

import random
from collections import Counter

from close_transfer.data.picturebook import word_order
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.composition import (
    _make_twin,
    build_composition_test,
    swap_colours,
    swap_counts,
    swap_roles,
    write_full_caption,
)
from close_transfer.data.picturebook.drawing import arrange
from close_transfer.data.picturebook.scenes import Scene, Thing, belongs_to, is_novel, iterate_scenes, scenes
from close_transfer.data.picturebook.word_order import SHUFFLES, shuffle_caption

PAIR = Scene("park", "day", "clear", (Thing("man", "red"), Thing("ball", "blue", count=2)), "left of", 7)


def test_captions_state_count_colour_and_relation():
    assert write_full_caption(PAIR, 0, None) == "A man in red to the left of two blue balls."
    assert write_full_caption(swap_colours(PAIR), 1, 1) == "Two red balls to the right of a man in blue in the park."
    assert write_full_caption(swap_roles(PAIR), 0, None) == "Two blue balls to the left of a man in red."
    assert write_full_caption(swap_counts(PAIR), 0, None) == "Two men in red to the left of a blue ball."
    same = Scene("park", "day", "clear", (Thing("man", "red"), Thing("box", "red", opened=False)), "left of", 7)
    assert swap_colours(same) is None and swap_counts(same) is None


def test_shuffles_move_the_words_that_they_name():
    rng = random.Random(0)
    texts = shuffle_caption("A red dog on a small box, with two cats nearby.", rng)
    assert texts[0] == "A red dog on a small box with two cats nearby."
    words = [text.lower().rstrip(".").split() for text in texts]
    assert all(sorted(shuffled) == sorted(words[0]) and shuffled != words[0] for shuffled in words[1:])
    content = [i for i, word in enumerate(words[0]) if word in ("red", "dog", "small", "box", "cats")]
    others = [i for i in range(len(words[0])) if i not in content]
    nouns_moved, others_moved, within, whole = words[1:]
    assert [nouns_moved[i] for i in others] == [words[0][i] for i in others]
    assert {nouns_moved[1], nouns_moved[5]} == {"red", "small"}
    assert [others_moved[i] for i in content] == [words[0][i] for i in content]
    for start in range(0, len(words[0]), 3):
        assert sorted(within[start : start + 3]) == sorted(words[0][start : start + 3])
    assert " ".join(words[0][3:6]) in " ".join(whole)
    assert shuffle_caption("A dog.", rng) is None
    assert len(SHUFFLES) == 4


def test_the_lists_have_every_noun_and_adjective_of_the_captions():
    # A noun or adjective that the lists lack would stay in its place.
    words = Counter(
        word
        for scene in scenes("test", 150)
        for caption in captions(scene)
        for word in caption.text.lower().replace(",", "").rstrip(".").split()
    )
    function_words = set(words) - word_order._NOUNS - word_order._ADJECTIVES
    assert function_words <= {
        "a", "an", "the", "of", "on", "in", "at", "by", "to", "is", "it", "its", "with", "and", "also", "as", "there",
        "above", "over", "below", "under", "behind", "front", "next", "beside", "along", "nearby", "inside", "among",
        "sitting", "wearing", "dressed", "during", "goes", "down", "nothing", "some", "several", "few", "one", "two",
        "three", "four",
    }  # fmt: skip


def test_twins_are_scenes_of_the_test_split_with_one_layout():
    found = Counter()
    for scene in iterate_scenes("test"):
        if scene.view != "clear" or len(scene.things) != 2 or any(thing.content for thing in scene.things):
            continue
        for stratum in ("attribute", "relation", "count"):
            if found[stratum] < 5 and (twin := _make_twin(scene, stratum)):
                found[stratum] += 1
                first, second = twin
                assert first.content != second.content and first.layout_seed == second.layout_seed
                assert belongs_to(first, "test") and belongs_to(second, "test")
                assert not any(is_novel(*pair) for pair in second.pairs)
                assert sum(thing.count for thing in first.things) == sum(thing.count for thing in second.things)
                if stratum == "attribute":
                    assert [placed.box for placed in arrange(first)] == [placed.box for placed in arrange(second)]
        if min(found[stratum] for stratum in ("attribute", "relation", "count")) == 5:
            return


def test_the_same_arguments_give_the_same_test():
    test, again = build_composition_test(5, 3, 1), build_composition_test(5, 3, 1)
    assert test.fingerprint() == again.fingerprint()
    assert build_composition_test(5, 3, 1, seed=1).fingerprint() != test.fingerprint()
    assert Counter(item.stratum for item in test.choices) == {"order": 5, "attribute": 3, "relation": 3, "count": 3}
    assert Counter(item.stratum for item in test.twins) == {"attribute": 1, "relation": 1, "count": 1}
    assert len({item.id for item in (*test.choices, *test.twins)}) == 17
    assert {len(item.captions) for item in test.choices} == {2, 5}
