"""draw_picturebook.py: draw a sheet of Picturebook scenes of one split, each with two of its captions."""

import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from close_transfer.config.draw_picturebook import DrawPicturebookConfig
from close_transfer.core.atomic_files import atomic_path
from close_transfer.core.console import show
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.drawing import draw_scene
from close_transfer.data.picturebook.scenes import Scene, scenes

IMAGE_SIZE, GAP, TEXT_HEIGHT = 176, 12, 92


def draw_cell(sheet: Image.Image, scene: Scene, x: int, y: int) -> None:
    """Draw one image with its first and its third caption below."""
    sheet.paste(draw_scene(scene, IMAGE_SIZE), (x, y))
    draw = ImageDraw.Draw(sheet)
    scene_captions = captions(scene)
    lines = [
        (line, colour)
        for caption, colour in ((scene_captions[0], "#1c2430"), (scene_captions[2], "#7a8594"))
        for line in textwrap.wrap(caption.text, 31)
    ]
    for number, (line, colour) in enumerate(lines[:6]):
        draw.text((x, y + IMAGE_SIZE + 5 + 14 * number), line, fill=colour, font=ImageFont.load_default(11))


def main(config: DrawPicturebookConfig) -> None:
    """Draw the sheet."""
    columns, rows = config.columns, config.rows
    width, height = IMAGE_SIZE + GAP, IMAGE_SIZE + TEXT_HEIGHT + GAP
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    for number, scene in enumerate(scenes(config.split, columns * rows, config.seed)):
        draw_cell(sheet, scene, GAP + number % columns * width, GAP + number // columns * height)
    with atomic_path(Path(config.output)) as temporary:
        sheet.quantize(256).save(temporary, "PNG", optimize=True)
    show(f"{columns * rows} scenes of {config.split}: {config.output}")
