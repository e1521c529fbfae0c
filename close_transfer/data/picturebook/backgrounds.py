"""Backgrounds: sky, ground, and the few details that distinguish places and times of day."""

import random
from collections.abc import Callable

from PIL import ImageDraw

from close_transfer.data.picturebook.scenes import Scene
from close_transfer.data.picturebook.shapes import RGB, shade

_SKIES: dict[str, tuple[RGB, RGB]] = {
    "day": ((120, 190, 245), (214, 238, 252)),
    "sunset": ((244, 130, 90), (255, 208, 140)),
    "night": ((14, 18, 52), (44, 50, 104)),
}
_LIGHT = {"day": 1.0, "sunset": 0.86, "night": 0.5}
_GROUNDS: dict[str, RGB] = {
    "park": (150, 206, 110),
    "beach": (240, 222, 164),
    "street": (150, 150, 156),
    "snow": (238, 244, 250),
    "desert": (232, 182, 106),
    "farm": (206, 190, 96),
    "kitchen": (222, 220, 214),
    "bedroom": (176, 150, 196),
}
_HORIZON = 0.6


def _draw_gradient(draw: ImageDraw.ImageDraw, size: int, bottom: float, colours: tuple[RGB, RGB]) -> None:
    for y in range(round(size * bottom) + 1):
        share = y / (size * bottom)
        row = tuple(round(a + (b - a) * share) for a, b in zip(*colours, strict=True))
        draw.line((0, y, size, y), row)


def draw_background(draw: ImageDraw.ImageDraw, scene: Scene, size: int, rng: random.Random) -> None:
    """Draw sky, ground and the details of a place, on a canvas of size x size pixels."""
    light = _LIGHT.get(scene.time or "day", 1.0)

    def lit(colour: RGB) -> RGB:
        return shade(colour, light)

    def at(*values: float) -> tuple[float, ...]:
        return tuple(value * size for value in values)

    ground = lit(_GROUNDS[scene.place])
    if scene.time is not None:
        _draw_gradient(draw, size, _HORIZON, _SKIES[scene.time])
        if scene.time == "night":
            for _ in range(14):
                x, y = rng.random(), rng.random() * 0.5
                draw.ellipse(at(x, y, x + 0.012, y + 0.012), (250, 250, 220))
        elif scene.time == "sunset":
            x = rng.uniform(0.15, 0.85)
            draw.ellipse(at(x - 0.11, 0.48, x + 0.11, 0.7), (255, 236, 150))
    draw.rectangle(at(0, _HORIZON, 1, 1), ground)
    _PLACE_DETAILS[scene.place](draw, at, lit)


_At = Callable[..., tuple[float, ...]]
_Lit = Callable[[RGB], RGB]


def _draw_park(draw: ImageDraw.ImageDraw, at: _At, lit: _Lit) -> None:
    for x in (-0.05, 0.14, 0.34, 0.55, 0.76, 0.93):
        draw.ellipse(at(x, 0.5, x + 0.2, 0.68), lit((116, 176, 96)))
    draw.rectangle(at(0, 0.62, 1, 1), lit(_GROUNDS["park"]))
    for x in (0.06, 0.3, 0.52, 0.8):
        draw.line(at(x, 0.9, x + 0.02, 0.86, x + 0.04, 0.9), lit((96, 160, 70)), round(at(0.012)[0]))


def _draw_beach(draw: ImageDraw.ImageDraw, at: _At, lit: _Lit) -> None:
    draw.rectangle(at(0, 0.52, 1, 0.68), lit((62, 150, 206)))
    for x in (0.1, 0.4, 0.7):
        draw.arc(at(x, 0.56, x + 0.16, 0.62), 180, 360, lit((224, 240, 250)), round(at(0.014)[0]))
    draw.line(at(0, 0.68, 1, 0.68), lit((250, 250, 250)), round(at(0.02)[0]))


def _draw_street(draw: ImageDraw.ImageDraw, at: _At, lit: _Lit) -> None:
    for x, top in ((0.0, 0.3), (0.2, 0.42), (0.44, 0.34), (0.66, 0.44), (0.84, 0.28)):
        draw.rectangle(at(x, top, x + 0.17, _HORIZON), lit((176, 170, 178)))
        for wx in (0.04, 0.1):
            for wy in (0.06, 0.14):
                draw.rectangle(at(x + wx, top + wy, x + wx + 0.03, top + wy + 0.04), lit((250, 240, 190)))
    draw.rectangle(at(0, 0.6, 1, 0.64), lit((206, 206, 206)))
    for x in (0.02, 0.28, 0.54, 0.8):
        draw.rectangle(at(x, 0.95, x + 0.16, 0.975), lit((250, 250, 240)))


def _draw_snow(draw: ImageDraw.ImageDraw, at: _At, lit: _Lit) -> None:
    for x, top in ((0.2, 0.24), (0.62, 0.16), (0.95, 0.3)):
        draw.polygon(at(x - 0.3, _HORIZON, x, top, x + 0.3, _HORIZON), lit((140, 156, 184)))
        draw.polygon(at(x - 0.1, top + 0.12, x, top, x + 0.1, top + 0.12), lit((246, 250, 254)))
    for x, y in ((0.1, 0.72), (0.3, 0.9), (0.5, 0.7), (0.7, 0.84), (0.9, 0.74)):
        draw.ellipse(at(x, y, x + 0.025, y + 0.025), lit((196, 212, 232)))


def _draw_desert(draw: ImageDraw.ImageDraw, at: _At, lit: _Lit) -> None:
    draw.ellipse(at(-0.2, 0.5, 0.6, 0.9), lit((222, 168, 92)))
    draw.ellipse(at(0.4, 0.54, 1.3, 1.0), lit((240, 194, 122)))
    cactus = lit((60, 130, 76))
    draw.rectangle(at(0.06, 0.36, 0.1, 0.64), cactus)
    draw.line(at(0.02, 0.44, 0.02, 0.52, 0.08, 0.52), cactus, round(at(0.03)[0]))
    draw.line(at(0.08, 0.48, 0.15, 0.48, 0.15, 0.4), cactus, round(at(0.03)[0]))


def _draw_farm(draw: ImageDraw.ImageDraw, at: _At, lit: _Lit) -> None:
    for number in range(5):
        y = 0.66 + number * 0.08
        draw.line(at(0, y, 1, y), lit((176, 156, 66)), round(at(0.02)[0]))
    wood = lit((150, 104, 66))
    for y in (0.52, 0.57):
        draw.line(at(0, y, 1, y), wood, round(at(0.018)[0]))
    for x in (0.04, 0.23, 0.42, 0.61, 0.8, 0.97):
        draw.line(at(x, 0.48, x, 0.62), wood, round(at(0.026)[0]))


def _draw_kitchen(draw: ImageDraw.ImageDraw, at: _At, lit: _Lit) -> None:
    draw.rectangle(at(0, 0, 1, _HORIZON), lit((250, 240, 208)))
    for x in range(7):
        draw.line(at(x / 6, _HORIZON, (x / 6 - 0.5) * 2 + 0.5, 1), lit((170, 170, 170)), round(at(0.012)[0]))
    for y in (0.7, 0.84):
        draw.line(at(0, y, 1, y), lit((170, 170, 170)), round(at(0.012)[0]))
    draw.rectangle(at(0, 0.34, 0.28, _HORIZON), lit((126, 178, 170)))
    draw.rectangle(at(0, 0.31, 0.3, 0.35), lit((90, 84, 84)))
    draw.rectangle(at(0.78, 0.16, 0.98, _HORIZON), lit((206, 214, 222)))
    draw.line(at(0.78, 0.34, 0.98, 0.34), lit((120, 126, 134)), round(at(0.012)[0]))


def _draw_bedroom(draw: ImageDraw.ImageDraw, at: _At, lit: _Lit) -> None:
    draw.rectangle(at(0, 0, 1, _HORIZON), lit((196, 214, 236)))
    for x in (0.08, 0.26, 0.44, 0.62, 0.8, 0.98):
        draw.line(at(x, 0, x, _HORIZON), lit((178, 196, 222)), round(at(0.014)[0]))
    draw.rectangle(at(0.56, 0.3, 0.62, 0.66), lit((128, 84, 54)))
    draw.rectangle(at(0.6, 0.46, 1, 0.64), lit((216, 96, 110)))
    draw.rectangle(at(0.63, 0.41, 0.78, 0.48), lit((250, 250, 250)))


_PLACE_DETAILS: dict[str, Callable[[ImageDraw.ImageDraw, _At, _Lit], None]] = {
    "park": _draw_park,
    "beach": _draw_beach,
    "street": _draw_street,
    "snow": _draw_snow,
    "desert": _draw_desert,
    "farm": _draw_farm,
    "kitchen": _draw_kitchen,
    "bedroom": _draw_bedroom,
}
