"""Shapes: one short function per kind of thing, in unit coordinates.

Every function draws inside the unit square, x to the right and y down, with a `Pen` that maps it
to a position, a size and a direction in the image.
"""

from collections.abc import Callable, Sequence

from PIL import ImageDraw

RGB = tuple[int, int, int]

SKIN: RGB = (240, 196, 160)
HAIR: RGB = (84, 52, 34)
GLASS: RGB = (196, 226, 244)
TYRE: RGB = (44, 44, 50)
WOOD: RGB = (132, 88, 54)
STEM: RGB = (54, 128, 58)
DARK: RGB = (30, 28, 34)


def shade(colour: RGB, factor: float) -> RGB:
    """Darken (factor below 1) or lighten (above 1) a colour, each channel kept in 0..255."""
    if factor <= 1:
        red, green, blue = (round(channel * factor) for channel in colour)
    else:
        red, green, blue = (round(channel + (255 - channel) * (factor - 1)) for channel in colour)
    return red, green, blue


class Pen:
    """Drawing tool in the unit square of one thing, mapped to the box (x0, y0, x1, y1) in pixels."""

    def __init__(self, draw: ImageDraw.ImageDraw, box: Sequence[float], colour: RGB, flip: bool):
        self.draw = draw
        self.x0, self.y0, self.x1, self.y1 = box
        self.colour = colour
        # Black things get a lighter outline and white ones a grey one, so that the outline shows.
        self.line = (112, 112, 122) if sum(colour) < 150 else shade(colour, 0.5)
        self.width = max(2, round((self.y1 - self.y0) * 0.028))
        self.flip = flip

    def _map_point(self, x: float, y: float) -> tuple[float, float]:
        x = 1 - x if self.flip else x
        return self.x0 + x * (self.x1 - self.x0), self.y0 + y * (self.y1 - self.y0)

    def _map_box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        left, top = self._map_point(x0, y0)
        right, bottom = self._map_point(x1, y1)
        return min(left, right), top, max(left, right), bottom

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, fill: RGB | None = None) -> None:
        fill = fill or self.colour
        self.draw.ellipse(self._map_box(x0, y0, x1, y1), fill, self.line, self.width)

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: RGB | None = None) -> None:
        fill = fill or self.colour
        self.draw.rectangle(self._map_box(x0, y0, x1, y1), fill, self.line, self.width)

    def rounded(self, x0: float, y0: float, x1: float, y1: float, fill: RGB | None = None) -> None:
        box = self._map_box(x0, y0, x1, y1)
        radius = 0.3 * min(box[2] - box[0], box[3] - box[1])
        self.draw.rounded_rectangle(box, radius, fill or self.colour, self.line, self.width)

    def polygon(self, *points: tuple[float, float], fill: RGB | None = None) -> None:
        self.draw.polygon([self._map_point(*p) for p in points], fill or self.colour, self.line, self.width)

    def stroke(self, *points: tuple[float, float], fill: RGB | None = None, width: float = 0.04) -> None:
        pixels = max(2, round(width * (self.y1 - self.y0)))
        self.draw.line([self._map_point(*p) for p in points], fill or self.line, pixels, joint="curve")

    def dot(self, x: float, y: float, radius: float, fill: RGB = DARK) -> None:
        centre_x, centre_y = self._map_point(x, y)
        r = radius * (self.y1 - self.y0)
        self.draw.ellipse((centre_x - r, centre_y - r, centre_x + r, centre_y + r), fill)


def dog(pen: Pen) -> None:
    pen.polygon((0.06, 0.06), (0.0, 0.3), (0.14, 0.5), (0.2, 0.42))
    for x in (0.22, 0.36, 0.64, 0.78):
        pen.rect(x, 0.62, x + 0.09, 1.0)
    pen.ellipse(0.14, 0.36, 0.9, 0.76)
    pen.ellipse(0.6, 0.02, 0.96, 0.46)
    pen.ellipse(0.84, 0.18, 1.0, 0.42, shade(pen.colour, 1.35))
    pen.polygon((0.6, 0.06), (0.72, 0.08), (0.7, 0.46), (0.58, 0.4), fill=shade(pen.colour, 0.6))
    pen.dot(0.82, 0.18, 0.035, DARK if sum(pen.colour) > 150 else (235, 235, 235))
    pen.dot(0.98, 0.26, 0.04)


def cat(pen: Pen) -> None:
    pen.stroke((0.74, 0.92), (0.96, 0.8), (0.94, 0.52), (0.84, 0.44), fill=pen.line, width=0.12)
    pen.stroke((0.74, 0.92), (0.96, 0.8), (0.94, 0.52), (0.84, 0.44), fill=pen.colour, width=0.07)
    pen.ellipse(0.14, 0.4, 0.82, 1.0)
    pen.polygon((0.1, 0.0), (0.1, 0.3), (0.36, 0.12))
    pen.polygon((0.82, 0.0), (0.82, 0.3), (0.56, 0.12))
    pen.ellipse(0.06, 0.08, 0.86, 0.54)
    eye = (240, 240, 120) if sum(pen.colour) < 150 else DARK
    pen.dot(0.32, 0.28, 0.045, eye)
    pen.dot(0.6, 0.28, 0.045, eye)
    pen.dot(0.46, 0.38, 0.03, (220, 110, 120))
    for y in (0.36, 0.42):
        pen.stroke((0.28, 0.39), (-0.04, y), width=0.02)
        pen.stroke((0.64, 0.39), (0.96, y), width=0.02)


def rabbit(pen: Pen) -> None:
    pen.ellipse(0.2, 0.0, 0.42, 0.42)
    pen.ellipse(0.58, 0.0, 0.8, 0.42)
    pen.ellipse(0.26, 0.08, 0.36, 0.36, (250, 190, 200))
    pen.ellipse(0.64, 0.08, 0.74, 0.36, (250, 190, 200))
    pen.ellipse(0.1, 0.52, 0.9, 1.0)
    pen.ellipse(0.16, 0.28, 0.84, 0.68)
    pen.dot(0.36, 0.44, 0.035, DARK if sum(pen.colour) > 150 else (235, 235, 235))
    pen.dot(0.64, 0.44, 0.035, DARK if sum(pen.colour) > 150 else (235, 235, 235))
    pen.dot(0.5, 0.53, 0.03, (230, 110, 130))
    pen.dot(0.5, 0.86, 0.1, (250, 250, 250))


def horse(pen: Pen) -> None:
    mane = shade(pen.colour, 0.55) if sum(pen.colour) > 150 else (90, 90, 98)
    pen.polygon((0.1, 0.36), (0.0, 0.44), (0.02, 0.78), (0.1, 0.6), fill=mane)
    for x in (0.12, 0.22, 0.58, 0.68):
        pen.rect(x, 0.56, x + 0.07, 1.0)
    pen.ellipse(0.06, 0.3, 0.8, 0.68)
    pen.polygon((0.56, 0.4), (0.72, 0.06), (0.86, 0.1), (0.8, 0.54))
    pen.polygon((0.72, 0.06), (0.82, 0.0), (1.0, 0.24), (0.94, 0.34), (0.8, 0.24))
    pen.polygon((0.54, 0.38), (0.7, 0.02), (0.78, 0.04), (0.64, 0.4), fill=mane)
    pen.dot(0.85, 0.14, 0.022, DARK if sum(pen.colour) > 150 else (235, 235, 235))


def bird(pen: Pen) -> None:
    pen.polygon((0.0, 0.34), (0.3, 0.44), (0.26, 0.7))
    pen.stroke((0.46, 0.8), (0.44, 1.0), fill=(240, 150, 40), width=0.06)
    pen.stroke((0.58, 0.8), (0.58, 1.0), fill=(240, 150, 40), width=0.06)
    pen.ellipse(0.16, 0.3, 0.8, 0.88)
    pen.ellipse(0.56, 0.04, 0.88, 0.5)
    pen.polygon((0.86, 0.18), (1.0, 0.28), (0.86, 0.36), fill=(248, 160, 30))
    pen.ellipse(0.26, 0.42, 0.62, 0.72, shade(pen.colour, 0.7))
    pen.dot(0.76, 0.22, 0.05, DARK if sum(pen.colour) > 150 else (235, 235, 235))


def man(pen: Pen) -> None:
    trousers = (70, 74, 96)
    pen.rect(0.24, 0.64, 0.47, 1.0, trousers)
    pen.rect(0.53, 0.64, 0.76, 1.0, trousers)
    pen.polygon((0.22, 0.34), (0.0, 0.62), (0.14, 0.68), (0.32, 0.46))
    pen.polygon((0.78, 0.34), (1.0, 0.62), (0.86, 0.68), (0.68, 0.46))
    pen.rounded(0.18, 0.31, 0.82, 0.68)
    pen.ellipse(0.2, 0.02, 0.8, 0.33, SKIN)
    pen.polygon((0.19, 0.15), (0.24, 0.03), (0.5, 0.0), (0.76, 0.03), (0.81, 0.15), (0.5, 0.08), fill=HAIR)
    pen.dot(0.38, 0.18, 0.018)
    pen.dot(0.62, 0.18, 0.018)
    pen.stroke((0.4, 0.25), (0.6, 0.25), fill=(180, 80, 80), width=0.018)


def woman(pen: Pen) -> None:
    pen.ellipse(0.16, 0.0, 0.84, 0.46, HAIR)
    pen.rect(0.32, 0.84, 0.44, 1.0, SKIN)
    pen.rect(0.56, 0.84, 0.68, 1.0, SKIN)
    pen.polygon((0.36, 0.36), (0.04, 0.6), (0.14, 0.66), (0.46, 0.46), fill=SKIN)
    pen.polygon((0.64, 0.36), (0.96, 0.6), (0.86, 0.66), (0.54, 0.46), fill=SKIN)
    pen.polygon((0.32, 0.34), (0.68, 0.34), (0.68, 0.52), (1.0, 0.9), (0.0, 0.9), (0.32, 0.52))
    pen.ellipse(0.25, 0.04, 0.75, 0.35, SKIN)
    pen.dot(0.4, 0.19, 0.018)
    pen.dot(0.6, 0.19, 0.018)
    pen.stroke((0.42, 0.27), (0.58, 0.27), fill=(200, 60, 80), width=0.018)


def car(pen: Pen) -> None:
    pen.polygon((0.2, 0.46), (0.32, 0.04), (0.68, 0.04), (0.84, 0.46))
    pen.polygon((0.28, 0.42), (0.36, 0.14), (0.49, 0.14), (0.49, 0.42), fill=GLASS)
    pen.polygon((0.54, 0.42), (0.54, 0.14), (0.65, 0.14), (0.75, 0.42), fill=GLASS)
    pen.rounded(0.0, 0.4, 1.0, 0.82)
    for x in (0.14, 0.66):
        pen.ellipse(x, 0.6, x + 0.2, 1.0, TYRE)
        pen.dot(x + 0.1, 0.8, 0.08, (190, 190, 196))
    pen.dot(0.96, 0.54, 0.06, (255, 240, 160))


def bus(pen: Pen) -> None:
    pen.rounded(0.0, 0.02, 1.0, 0.86)
    for x in (0.06, 0.24, 0.42, 0.6):
        pen.rect(x, 0.16, x + 0.14, 0.46, GLASS)
    pen.rect(0.8, 0.16, 0.94, 0.8, GLASS)
    pen.stroke((0.0, 0.6), (0.78, 0.6), fill=shade(pen.colour, 1.6), width=0.05)
    for x in (0.14, 0.6):
        pen.ellipse(x, 0.72, x + 0.17, 1.0, TYRE)
        pen.dot(x + 0.085, 0.86, 0.06, (190, 190, 196))


def boat(pen: Pen) -> None:
    pen.stroke((0.5, 0.02), (0.5, 0.74), fill=WOOD, width=0.045)
    pen.polygon((0.54, 0.04), (0.54, 0.66), (0.94, 0.66), fill=(250, 246, 232))
    pen.polygon((0.46, 0.14), (0.46, 0.66), (0.14, 0.66), fill=(232, 226, 208))
    pen.polygon((0.0, 0.72), (1.0, 0.72), (0.82, 1.0), (0.18, 1.0))


def plane(pen: Pen) -> None:
    pen.polygon((0.02, 0.06), (0.16, 0.06), (0.26, 0.46), (0.08, 0.46))
    pen.polygon((0.4, 0.48), (0.3, 0.04), (0.44, 0.04), (0.64, 0.48), fill=shade(pen.colour, 0.75))
    pen.ellipse(0.03, 0.34, 1.0, 0.74)
    for x in (0.36, 0.48, 0.6, 0.72):
        pen.dot(x, 0.48, 0.055, GLASS)
    pen.polygon((0.4, 0.56), (0.62, 0.56), (0.4, 1.0), (0.26, 1.0), fill=shade(pen.colour, 0.75))


def tree(pen: Pen) -> None:
    pen.rect(0.4, 0.56, 0.6, 1.0, WOOD)
    for box in ((0.0, 0.24, 0.56, 0.66), (0.44, 0.24, 1.0, 0.66), (0.16, 0.0, 0.84, 0.46)):
        pen.ellipse(*box)
    pen.draw.ellipse(pen._map_box(0.2, 0.22, 0.8, 0.6), pen.colour)


def flower(pen: Pen) -> None:
    pen.stroke((0.5, 0.4), (0.5, 1.0), fill=STEM, width=0.07)
    pen.polygon((0.5, 0.84), (0.08, 0.62), (0.2, 0.88), fill=STEM)
    pen.polygon((0.5, 0.84), (0.92, 0.62), (0.8, 0.88), fill=STEM)
    for x, y in ((0.5, 0.12), (0.8, 0.24), (0.7, 0.46), (0.3, 0.46), (0.2, 0.24)):
        pen.ellipse(x - 0.2, y - 0.12, x + 0.2, y + 0.12)
    centre = (90, 60, 30) if pen.colour[0] > 240 and pen.colour[1] > 200 else (250, 210, 60)
    pen.ellipse(0.34, 0.21, 0.66, 0.41, centre)


def house(pen: Pen) -> None:
    pen.rect(0.72, 0.04, 0.84, 0.3, (150, 84, 70))
    pen.rect(0.08, 0.42, 0.92, 1.0)
    pen.polygon((0.0, 0.46), (0.5, 0.02), (1.0, 0.46), fill=shade(pen.colour, 0.62))
    pen.rect(0.42, 0.64, 0.6, 1.0, WOOD)
    pen.rect(0.16, 0.54, 0.34, 0.74, GLASS)
    pen.rect(0.68, 0.54, 0.86, 0.74, GLASS)


def ball(pen: Pen) -> None:
    pen.ellipse(0.0, 0.0, 1.0, 1.0)
    stripe = shade(pen.colour, 1.6) if sum(pen.colour) < 640 else (200, 204, 210)
    pen.ellipse(0.32, 0.01, 0.68, 0.99, stripe)
    pen.dot(0.5, 0.5, 0.1, pen.colour)


def balloon(pen: Pen) -> None:
    pen.stroke((0.5, 0.62), (0.42, 0.76), (0.56, 0.88), (0.5, 1.0), width=0.03)
    pen.polygon((0.5, 0.56), (0.38, 0.68), (0.62, 0.68))
    pen.ellipse(0.02, 0.0, 0.98, 0.62)
    pen.draw.ellipse(pen._map_box(0.24, 0.1, 0.42, 0.26), shade(pen.colour, 1.6))


def star(pen: Pen) -> None:
    pen.polygon(
        (0.5, 0.0), (0.62, 0.36), (1.0, 0.38), (0.7, 0.61), (0.81, 0.98),
        (0.5, 0.76), (0.19, 0.98), (0.3, 0.61), (0.0, 0.38), (0.38, 0.36),
    )  # fmt: skip


def closed_box(pen: Pen) -> None:
    """Draw a gift box with its lid on and a ribbon round it."""
    ribbon = (250, 214, 60) if pen.colour[1] < 180 else (206, 40, 60)
    pen.rect(0.06, 0.46, 0.94, 1.0)
    pen.rect(0.42, 0.46, 0.58, 1.0, ribbon)
    pen.rect(0.0, 0.3, 1.0, 0.5, shade(pen.colour, 0.8))
    pen.rect(0.42, 0.3, 0.58, 0.5, ribbon)
    pen.ellipse(0.28, 0.12, 0.5, 0.32, ribbon)
    pen.ellipse(0.5, 0.12, 0.72, 0.32, ribbon)


def open_box_back(pen: Pen) -> None:
    """Draw the raised lid and dark inside of an open box, behind its content."""
    pen.polygon((0.06, 0.5), (0.94, 0.5), (0.86, 0.12), (0.14, 0.12), fill=shade(pen.colour, 0.7))
    pen.ellipse(0.06, 0.44, 0.94, 0.68, DARK)


def open_box_front(pen: Pen) -> None:
    """Draw the front of an open box, over its content."""
    pen.rect(0.06, 0.58, 0.94, 1.0)


SHAPES: dict[str, Callable[[Pen], None]] = {
    shape.__name__: shape
    for shape in (
        dog, cat, rabbit, horse, bird, man, woman, car, bus, boat, plane,
        tree, flower, house, ball, balloon, star,
    )
}  # fmt: skip
