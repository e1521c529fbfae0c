from dataclasses import replace

import pytest

from close_transfer.data.example_sequences import ExamplesPerText, PackedExamples, SceneTexts, count_texts
from close_transfer.data.examples import Example, ImageRef, group_by_scene, sample, sample_scenes

IMAGE = ImageRef("a.jpg", lambda: None, lambda: "digest")
SCENES = [
    Example("one", ("a", "b"), IMAGE, "what", ("x",), ("y", "y"), "kind", "type"),
    Example("two", (), targets=("z",)),
    Example("three", ("c",)),
    Example("four", ("b", "a", "d")),
]


@pytest.fixture
def packed():
    examples = PackedExamples(lambda number: SCENES[number].image)
    for number, scene in enumerate(SCENES):
        examples.append(scene, number)
    return examples


def test_examples_are_read_as_they_were_appended(packed):
    assert list(packed) == SCENES
    assert (packed[-1], packed[1:3], len(packed)) == (SCENES[-1], SCENES[1:3], 4)
    assert packed[0].image is IMAGE


@pytest.mark.parametrize("scenes", [SCENES, SCENES[2:3] * 3])
def test_an_example_per_text_equals_the_list_of_them(scenes):
    def build(scene, number):
        return replace(scene, id=f"{scene.id}#{number}", texts=(scene.texts[number],))

    expected = [build(scene, number) for scene in scenes for number in range(len(scene.texts))]
    packed = PackedExamples(lambda number: scenes[number].image)
    for number, scene in enumerate(scenes):
        packed.append(scene, number)
    for sequence in (scenes, packed):
        examples = ExamplesPerText(sequence, build, lambda texts, number: (texts[number],))
        rows = range(len(examples))
        assert list(examples) == expected == [examples[row] for row in rows]
        texts = [example.texts for example in expected]
        assert list(examples.iterate_texts()) == texts == [examples.get_texts(row) for row in rows]
        assert count_texts(examples).tolist() == [1] * len(expected)


def test_texts_are_read_without_building_examples():
    def refuse(*fields):
        raise AssertionError

    packed = PackedExamples(refuse)
    for number, scene in enumerate(SCENES):
        packed.append(scene, number)
    texts = SceneTexts(ExamplesPerText(packed, refuse, lambda texts, number: (texts[number],)))
    assert list(texts) == ["a", "b", "c", "b", "a", "d"] == texts[:]


def test_texts_of_scenes_in_order(packed):
    for scenes in (SCENES, packed):
        texts = SceneTexts(scenes)
        assert list(texts) == ["a", "b", "c", "b", "a", "d"] == texts[:]
        assert texts.starts.tolist() == [0, 2, 2, 3, 6]


@pytest.mark.parametrize("max_scenes", [None, 1, 3, 7])
def test_drawn_scenes_are_those_of_all_scenes(max_scenes):
    examples = [Example(str(row), (f"text {row % 5}", "more" * (row % 2))) for row in range(20)]
    assert sample_scenes(examples, max_scenes, 0) == sample(group_by_scene(examples), max_scenes, 0)
