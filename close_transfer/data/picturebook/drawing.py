"""Drawing of scenes: background, arrangement of the things, view; anti-aliased with Pillow."""

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.backgrounds import draw_background
from close_transfer.data.picturebook.scenes import Scene, Thing
from close_transfer.data.picturebook.shapes import (
    SHAPES,
    Pen,
    closed_box,
    open_box_back,
    open_box_front,
)

DEFAULT_SIZE = 96
_OVERSAMPLING = 3
_FOG_SHARE = 0.34  # hidden share of the image's width

_MARGIN = 0.01  # distance that all things keep from the edge


@dataclass(frozen=True)
class Placed:
    """A single thing with its box (x0, y0, x1, y1) as fractions of the image."""

    thing: Thing
    box: tuple[float, float, float, float]
    flip: bool


def _measure(thing: Thing, max_width: float, max_height: float) -> tuple[float, float]:
    kind = world.KINDS[thing.kind]
    height = kind.height * world.SIZES[thing.size]
    width = height * kind.aspect
    scale = min(1.0, max_width / width, max_height / height)
    return width * scale, height * scale


def _place_row(
    rng: random.Random, thing: Thing, left: float, right: float, feet: float, max_height: float = 0.86
) -> list[Placed]:
    """Place the `thing.count` copies side by side between left and right."""
    slot = (right - left) / thing.count
    placed = []
    for number in range(thing.count):
        width, height = _measure(thing, slot * 0.96, max_height)
        spare = slot - width
        x = left + number * slot + spare * rng.uniform(0.3, 0.7)
        y = feet + rng.uniform(-0.02, 0.02)
        placed.append(Placed(thing, (x, y - height, x + width, y), rng.random() < 0.5))
    return placed


def _find_feet(thing: Thing) -> float:
    """Return the default position of the thing's lower edge."""
    if world.KINDS[thing.kind].sky:
        return 0.22 + world.KINDS[thing.kind].height * world.SIZES[thing.size] * 0.6
    return 0.9


def arrange(scene: Scene) -> list[Placed]:
    """Place every single thing so that the scene's relation holds; painter's order, back first."""
    return [_fit_inside(placed) for placed in _place_things(scene)]


def _fit_inside(placed: Placed) -> Placed:
    """Shrink towards the feet, then move sideways, until the image's edge cuts no part off."""
    x0, y0, x1, y1 = placed.box
    scale = min(1.0, (y1 - _MARGIN) / (y1 - y0))
    half = (x1 - x0) * scale / 2
    centre = min(max((x0 + x1) / 2, half + _MARGIN), 1 - _MARGIN - half)
    return Placed(placed.thing, (centre - half, y1 - (y1 - y0) * scale, centre + half, y1), placed.flip)


def _place_things(scene: Scene) -> list[Placed]:
    rng = random.Random(scene.layout_seed)
    fog_left = rng.random() < 0.5
    left, right = 0.03, 0.97
    if scene.view == "fog":
        left, right = (_FOG_SHARE, 0.97) if fog_left else (0.03, 1 - _FOG_SHARE)
    things = list(scene.things)
    placed: list[Placed] = []
    if len(things) == 3:
        third_left = rng.random() < 0.5
        share = 0.32 * (right - left)
        if third_left:
            placed += _place_row(rng, things[2], left, left + share, _find_feet(things[2]))
            left += share
        else:
            placed += _place_row(rng, things[2], right - share, right, _find_feet(things[2]))
            right -= share
    if len(things) == 1:
        return placed + _place_row(rng, things[0], left, right, _find_feet(things[0]))
    first, second = things[:2]
    if scene.relation == "left of":
        weights = [t.count * world.KINDS[t.kind].height * world.KINDS[t.kind].aspect + 0.08 for t in (first, second)]
        middle = left + (right - left) * min(0.7, max(0.3, weights[0] / sum(weights)))
        placed += _place_row(rng, first, left, middle, _find_feet(first))
        placed += _place_row(rng, second, middle, right, _find_feet(second))
    elif scene.relation == "above":
        placed += _place_row(rng, second, left, right, 0.94, max_height=0.58)
        top = min(item.box[1] for item in placed[-second.count :])
        above = _place_row(rng, first, left, right, 0.0)
        if second.count == first.count == 1:
            # Directly above: centred on the lower thing.
            centre = (placed[-1].box[0] + placed[-1].box[2]) / 2
            above = [_move(item, x=centre - (item.box[0] + item.box[2]) / 2) for item in above]
        feet = max(0.3, min(0.5, top - 0.03))
        placed += [_move(item, y=feet) for item in above]
    elif scene.relation == "on":
        (lower,) = _place_row(rng, second, left, right, 0.94)
        x0, y0, x1, y1 = lower.box
        surface = world.KINDS[second.kind].surface or 0.0
        width, height = _measure(first, 0.5, max(0.16, y0 + surface * (y1 - y0) - 0.02))
        feet = y0 + surface * (y1 - y0) + 0.015
        x = (x0 + x1 - width) / 2 + rng.uniform(-0.06, 0.06) * (x1 - x0)
        placed += [lower, Placed(first, (x, feet - height, x + width, feet), rng.random() < 0.5)]
    else:
        (behind,) = _place_row(rng, second, left, right, 0.8)
        front = _place_row(rng, first, left, right, 0.97)
        centre = (behind.box[0] + behind.box[2]) / 2 + rng.uniform(-0.08, 0.08)
        middle = (front[0].box[0] + front[-1].box[2]) / 2
        placed += [behind, *(_move(item, x=(centre - middle)) for item in front)]
    return placed


def _move(placed: Placed, x: float = 0.0, y: float = 0.0) -> Placed:
    x0, y0, x1, y1 = placed.box
    return Placed(placed.thing, (x0 + x, y0 + y, x1 + x, y1 + y), placed.flip)


def _paint(draw: ImageDraw.ImageDraw, placed: Placed, size: int) -> None:
    box = [value * size for value in placed.box]
    thing = placed.thing
    colour = world.COLOURS[thing.colour]
    pen = Pen(draw, box, colour, placed.flip)
    if thing.kind != "box":
        SHAPES[thing.kind](pen)
    elif not thing.opened:
        closed_box(pen)
    else:
        open_box_back(pen)
        if thing.content is not None:
            x0, y0, x1, y1 = box
            width, height = x1 - x0, y1 - y0
            inner_height = 0.86 * height
            inner_width = min(0.7 * width, inner_height * world.KINDS[thing.content.kind].aspect)
            x, feet = x0 + (width - inner_width) / 2, y0 + 0.8 * height
            inner = (x, feet - inner_height, x + inner_width, feet)
            SHAPES[thing.content.kind](Pen(draw, inner, world.COLOURS[thing.content.colour], placed.flip))
        open_box_front(pen)


def _add_fog(image: Image.Image, fog_left: bool) -> Image.Image:
    size = image.width
    x = np.linspace(0, 1, size) if fog_left else np.linspace(1, 0, size)
    # Opaque where x is below the hidden share, fading to a haze on the far side.
    thickness = np.clip(1.0 - (x - _FOG_SHARE * 0.8) / 0.22, 0.28, 1.0)
    mask = Image.fromarray(np.tile((thickness * 255).astype(np.uint8), (size, 1)))
    return Image.composite(Image.new("RGB", image.size, (226, 230, 234)), image, mask)


def draw_scene(scene: Scene, size: int = DEFAULT_SIZE) -> Image.Image:
    """Draw a scene as an RGB image of size x size pixels. The same scene gives the same bytes."""
    large = size * _OVERSAMPLING
    image = Image.new("RGB", (large, large))
    draw = ImageDraw.Draw(image)
    rng = random.Random(scene.layout_seed)
    fog_left = rng.random() < 0.5  # the same first draw as in `arrange`
    draw_background(draw, scene, large, rng)
    for placed in arrange(scene):
        _paint(draw, placed, large)
    if scene.view == "fog":
        image = _add_fog(image, fog_left)
    elif scene.view == "black-and-white":
        image = image.convert("L").convert("RGB")
    return image.reduce(_OVERSAMPLING)
