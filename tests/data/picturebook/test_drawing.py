import numpy as np
import pytest

from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.drawing import arrange, draw_scene
from close_transfer.data.picturebook.scenes import Scene, Thing, scenes


def pixels(scene, size=96):
    return np.asarray(draw_scene(scene, size)).astype(int)


def single(kind, colour="red", place="park", **changes):
    opened = True if kind == "box" else None
    values = {"time": "day", "view": "clear", "relation": None, "layout_seed": 3} | changes
    return Scene(place, values["time"], values["view"], (Thing(kind, colour, opened=opened),), values["relation"], 3)


def test_pictures_are_rgb_of_the_asked_size():
    image = draw_scene(scenes("test", 1)[0], 80)
    assert image.size == (80, 80)
    assert image.mode == "RGB"


@pytest.mark.parametrize("kind", world.KINDS)
def test_every_kind_is_drawn_in_its_colour(kind):
    nothing = pixels(single("star", "white"))
    red, blue = pixels(single(kind, "red")), pixels(single(kind, "blue"))
    differing = np.abs(red - blue).sum(axis=-1) > 60
    assert differing.mean() > 0.015, "the colour covers enough to be seen"
    towards_red = (red - blue)[differing]
    assert towards_red[:, 0].mean() > 0 > towards_red[:, 2].mean()
    assert nothing.shape == red.shape


def test_kinds_look_different():
    drawn = {kind: pixels(single(kind)) for kind in world.KINDS}
    for first in drawn:
        for second in drawn:
            if first < second:
                assert (np.abs(drawn[first] - drawn[second]).sum(axis=-1) > 60).mean() > 0.02, (first, second)


def test_edges_are_smooth():
    # A hard-edged red disc on grass has two colours; a smooth one has many in between.
    assert len(np.unique(pixels(single("ball")).reshape(-1, 3), axis=0)) > 60


def test_nothing_is_cut_off_by_the_edge():
    for scene in scenes("train", 600):
        for one in arrange(scene):
            assert min(one.box) > -0.001, scene
            assert max(one.box) < 1.001, scene


def centre(boxes):
    return np.mean([[(b[0] + b[2]) / 2, (b[1] + b[3]) / 2] for b in boxes], axis=0)


@pytest.mark.parametrize("relation", ["left of", "above", "on", "in front of"])
def test_relations_hold_in_the_picture(relation):
    checked = 0
    for scene in scenes("train", 1500):
        if scene.relation != relation:
            continue
        first, second = ([one.box for one in arrange(scene) if one.thing == t] for t in scene.things[:2])
        (x1, y1), (x2, y2) = centre(first), centre(second)
        if relation == "left of":
            assert max(b[2] for b in first) <= min(b[0] for b in second) + 0.06
            assert x1 < x2
        elif relation == "above":
            assert y1 < y2
        elif relation == "on":
            assert first[0][3] < second[0][3]
            assert second[0][0] < x1 < second[0][2]
        else:
            assert max(b[3] for b in first) > second[0][3], "nearer things stand lower"
        checked += 1
    assert checked > 50


def test_black_and_white_has_no_colour():
    scene = next(s for s in scenes("train", 200) if s.view == "black-and-white")
    picture = pixels(scene)
    assert (picture.max(axis=-1) == picture.min(axis=-1)).all()


def test_fog_hides_one_side():
    scene = next(s for s in scenes("train", 200) if s.view == "fog")
    picture = pixels(scene)
    spread = picture.std(axis=(0, 2))
    assert min(spread[:8].mean(), spread[-8:].mean()) < 8
    assert max(spread[:8].mean(), spread[-8:].mean()) > 12


def test_indoor_scenes_have_no_time_of_day():
    assert all((s.time is None) == (s.place in world.INDOORS) for s in scenes("train", 300))
