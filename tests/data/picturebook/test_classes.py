from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.classes import classify_scenes
from close_transfer.data.picturebook.scenes import Scene, Thing, scenes


def classify(target, *given):
    return [(e.id, e.category) for e in classify_scenes(target, scenes("train", 30), given, "test").testing]


DOGS = Scene("park", "day", "clear", (Thing("dog", "red", count=2),), None, 1)
BOTH = Scene("snow", "day", "clear", (Thing("cat", "blue"), Thing("box", "red", opened=False)), "on", 1)
GREY = Scene("farm", "day", "black-and-white", (Thing("bus", "green"),), None, 1)
FULL = Scene("farm", "day", "clear", (Thing("box", "red", opened=True, content=Thing("cat", "red")),), None, 1)


def test_only_scenes_with_one_class_are_used():
    given = (DOGS, BOTH, GREY, FULL)
    assert classify("kinds", *given) == [("test-00000", "dog"), ("test-00002", "bus")]
    assert classify("colours", *given) == [("test-00000", "red")]
    assert classify("counts", *given) == [("test-00000", "two"), ("test-00002", "one")]
    assert classify("relations", *given) == [("test-00001", "on")]
    assert [place for _, place in classify("places", *given)] == ["park", "snow", "farm", "farm"]


def test_each_class_has_texts_in_the_worlds_language():
    for target, classes in {"kinds": world.KINDS, "colours": world.COLOURS, "places": world.PLACES}.items():
        texts = classify_scenes(target, scenes("train", 30), (DOGS,), "test").class_texts
        assert texts.keys() == classes.keys()
    assert "A picture of a dog." in classify_scenes("kinds", scenes("train", 30), (DOGS,), "test").class_texts["dog"]
    relations = classify_scenes("relations", scenes("train", 30), (BOTH,), "test").class_texts
    assert "A cat on a box." in relations["on"] and "A box on a cat." not in relations["on"]
    assert "A cat to the left of a box." in relations["left of"]
    counts = classify_scenes("counts", scenes("train", 30), (DOGS,), "test").class_texts
    assert "Two buses." in counts["two"] and "An orange bus." not in counts["one"]
