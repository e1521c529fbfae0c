import itertools
import re
from collections import Counter

import numpy as np
import pytest
import torch

from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.claims import AtTime, Count, Exists, HasColour, InBox, Related
from close_transfer.data.picturebook.hypotheses import LABELS, hypotheses
from close_transfer.data.picturebook.questions import questions
from close_transfer.data.picturebook.scenes import Scene, Thing, scenes


def words(text):
    return set(re.findall(r"[a-z]+", text.lower()))


def test_five_captions_a_scene_nearly_always_different():
    distinct = [len({c.text for c in captions(scene)}) for scene in scenes("train", 300)]
    assert all(len(captions(scene)) == 5 for scene in scenes("train", 20))
    assert np.mean(distinct) > 4.7


def test_captions_mention_what_they_say_they_mention():
    for scene in scenes("train", 300):
        for caption in captions(scene):
            told = words(caption.text)
            if "colours" in caption.mentions and "things" in caption.mentions:
                assert {t.colour for t in scene.things} <= told, caption
            if "things" in caption.mentions:
                for thing in scene.things:
                    names = {w for pair in world.KINDS[thing.kind].nouns for w in pair}
                    assert any(set(name.split()) <= told for name in names), caption
            if "view" in caption.mentions and scene.view != "clear":
                assert "fog" in told or {"black", "white"} <= told, caption
            if "place" in caption.mentions:
                assert any(way in caption.text.lower() for way in world.PLACES[scene.place][1]), caption


def test_captions_vary_as_people_do():
    told = [[c.text.lower() for c in captions(scene)] for scene in scenes("train", 400)]
    flat = [text for texts in told for text in texts]
    assert any("hound" in t for t in flat), "synonyms"
    assert any("animal" in t for t in flat), "hypernyms"
    assert any("to the right of" in t for t in flat), "word order"
    assert np.mean([len(texts[0].split()) for texts in told]) > 1.3 * np.mean([len(texts[4].split()) for texts in told])


def dog_and_box(view="clear", opened=False):
    things = (Thing("dog", "red", count=2), Thing("box", "blue", opened=opened))
    return Scene("park", "day", view, things, "left of", 1)


@pytest.mark.parametrize(
    ("claim", "view", "truth"),
    [
        (Exists(("dog",)), "clear", "yes"),
        (Exists(("dog",), colour="red"), "clear", "yes"),
        (Exists(("dog",), colour="red"), "black-and-white", "unknown"),
        (Exists(("horse",)), "clear", "no"),
        (Exists(("horse",)), "fog", "unknown"),
        (Exists(("dog",), place="beach"), "clear", "no"),
        (HasColour("dog", "green"), "clear", "no"),
        (HasColour("dog", "green"), "black-and-white", "unknown"),
        (Count("dog", 2), "clear", "yes"),
        (Count("dog", 3), "clear", "no"),
        (Count("dog", 3), "fog", "unknown"),
        (Count("dog", 2, at_least=True), "fog", "yes"),
        (AtTime("day"), "clear", "yes"),
        (AtTime("night"), "clear", "no"),
        (Related("dog", "left of", "box"), "clear", "yes"),
        (Related("box", "left of", "dog"), "clear", "no"),
        (InBox(("cat",)), "clear", "unknown"),
    ],
)
def test_truth_of_claims(claim, view, truth):
    assert claim.truth(dog_and_box(view)) == truth


def test_an_open_box_decides():
    assert InBox(("cat",)).truth(dog_and_box(opened=True)) == "no"
    assert InBox(()).truth(dog_and_box(opened=True)) == "yes"


TRAIN, TEST = 4000, 1000


@pytest.fixture(scope="module")
def judged():
    return hypotheses(scenes("train", TRAIN), 0, 4 * 34), hypotheses(scenes("test", TEST), 0, 34)


@pytest.fixture(scope="module")
def asked():
    return questions(scenes("train", TRAIN), 0, 4 * 26), questions(scenes("test", TEST), 0, 26)


def test_labels_are_balanced_and_all_families_occur(judged):
    for some in judged:
        counts = Counter(h.label for h in some)
        assert set(counts) == set(LABELS)
        assert max(counts.values()) == min(counts.values())
        assert {h.family for h in some} == {"exists", "colour", "count", "time", "relation", "box"}
    assert any(re.search(r"\b(no|not)\b", h.text.lower()) for h in judged[1]), "negation"


def test_premises_are_captions_of_their_scene(judged):
    chosen = scenes("test", TEST)
    for one in judged[1][:300]:
        assert one.premise in {c.text for c in captions(chosen[one.scene_number])}


def test_ten_answers_that_sometimes_disagree(asked):
    assert all(len(q.answers) == 10 for q in asked[1])
    agreeing = np.mean([len(set(q.answers)) == 1 for q in asked[1]])
    assert 0.2 < agreeing < 0.9
    assert {q.answer_type for q in asked[1]} == {"yes/no", "number", "other"}
    starts = Counter(q.text.split()[0].lower() for q in asked[1])
    assert {"is", "how", "what", "where"} <= set(starts)


def test_answers_can_be_found_in_the_captions(asked):
    chosen = scenes("test", TEST)
    number_of = {word: str(number) for number, word in enumerate(world.NUMBER_WORDS)}
    checked = Counter()
    for question in asked[1]:
        told = " ".join(c.text.lower() for c in captions(chosen[question.scene_number]))
        answer = Counter(question.answers).most_common(1)[0][0]
        if question.family == "what colour":
            assert answer in words(told), question
        elif question.family == "where":
            assert any(way in told for name, ways in world.PLACES.values() if name == answer for way in ways), question
        elif question.family == "how many" and answer != "1":
            numbers = {number_of[word] for word in words(told) & set(number_of)}
            assert answer in numbers | ({"2"} if words(told) & {"pair", "couple"} else set()), question
        else:
            continue
        checked[question.family] += 1
    assert min(checked.values()) > 50
    assert len(checked) == 3


def bag_of_words_accuracy(train, test):
    """Test accuracy of a logistic regression on words and word pairs of the text alone.

    Args:
        train, test: (text, target) pairs.
    """

    def features(text):
        tokens = ["^", *re.findall(r"\w+", text.lower()), "$"]
        return tokens + [f"{a} {b}" for a, b in itertools.pairwise(tokens)] + [" ".join(tokens[:4])]

    seen = Counter(f for text, _ in train for f in features(text))
    index = {f: i for i, f in enumerate(f for f, count in seen.items() if count > 1)}
    classes = sorted({target for _, target in train})

    def matrix(pairs):
        rows = [[index[f] for f in features(text) if f in index] for text, _ in pairs]
        offsets = np.cumsum([0, *(len(r) for r in rows[:-1])])
        return torch.tensor([i for r in rows for i in r]), torch.tensor(offsets)

    torch.manual_seed(0)
    weights = torch.nn.EmbeddingBag(len(index), len(classes), mode="sum")
    torch.nn.init.zeros_(weights.weight)
    optimizer = torch.optim.AdamW(weights.parameters(), lr=0.05, weight_decay=0.02)
    inputs, offsets = matrix(train)
    targets = torch.tensor([classes.index(target) for _, target in train])
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(weights(inputs, offsets), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        guessed = weights(*matrix(test)).argmax(dim=1)
    return np.mean([classes[g] == target for g, (_, target) in zip(guessed.tolist(), test, strict=True)])


def test_baseline_finds_a_giveaway_when_there_is_one():
    train = [(f"{'no ' if n % 3 == 0 else ''}thing number {n % 17}", str(n % 3 == 0)) for n in range(600)]
    assert bag_of_words_accuracy(train, train[:200]) > 0.95


def test_hypothesis_alone_decides_little(judged):
    train, test = ([(h.text, h.label) for h in some] for some in judged)
    assert len(train) > 5000
    assert len(test) > 1000
    assert bag_of_words_accuracy(train, test) < 0.45


def test_question_alone_decides_little(asked):
    train, test = ([(q.text, Counter(q.answers).most_common(1)[0][0]) for q in some] for some in asked)
    assert len(train) > 5000
    assert len(test) > 1000
    assert bag_of_words_accuracy(train, test) < 0.55
