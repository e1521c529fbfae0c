"""Published tests of composition in their original files: ARO, Winoground and SugarCrepe.

The file's content decides its format: ARO (arXiv 2210.01936) is a list of objects with a true and a false caption and a
box in the image; Winoground (arXiv 2204.03162) is JSON Lines with two captions and two images; SugarCrepe
(arXiv 2306.14610) is an object of numbered entries with a caption and a negative caption.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError
from close_transfer.core.readers.records import clean, field, key_field, read_document, read_lines, text_field
from close_transfer.data.composition import ChoiceItem, CompositionTest, TwinItem
from close_transfer.data.examples import ImageRef
from close_transfer.data.image_files import open_image
from close_transfer.data.sources.images import explain_missing, make_file_ref, resolve_inside

_ARO_PREFIX = "visual_genome_"  # of both files, visual_genome_relation.json and visual_genome_attribution.json
_BOX = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
_MAX_COORDINATE = 10**6  # pixels; no image that is opened is as long


def _make_image(folder: Path, name: str, field: str) -> ImageRef:
    path = resolve_inside(folder, name, field)
    image = make_file_ref(path, str(path))
    if reason := explain_missing(image):
        raise RecordError(reason)
    return image


def _crop(path: Path, box: tuple[float, float, float, float]) -> Image.Image:
    left, top, width, height = box
    image = open_image(path)
    edges = (round(left), round(top), round(left + width), round(top + height))
    shown = [max(0, min(edges[side + 2], image.size[side]) - max(edges[side], 0)) for side in (0, 1)]
    # A crop is black beyond the image, and a huge one fills the memory.
    if 2 * shown[0] * shown[1] < max(1, (edges[2] - edges[0]) * (edges[3] - edges[1])):
        raise UserError(
            f"{path}: the box {box} is not inside the image of {image.width} x {image.height} pixels. Correct the entry of "
            "items=, or give the images that belong to it"
        )
    return image.crop(edges)


def _read_box(record: Any) -> tuple[float, float, float, float]:
    values = [field(record, name) for name in _BOX]
    if not all(type(value) in (int, float) and abs(value) <= _MAX_COORDINATE for value in values):
        shown = ", ".join(str(value)[:20] for value in values)
        raise RecordError(f"fields {', '.join(_BOX)} are {shown}, not four numbers of pixels")
    left, top, width, height = values
    if width <= 0 or height <= 0:
        raise RecordError(f"the box is {width} x {height} pixels")
    return left, top, width, height


def _parse_aro(key: str, record: Any, stratum: str, folder: Path) -> ChoiceItem:
    captions = (text_field(record, "true_caption"), text_field(record, "false_caption"))
    whole = _make_image(folder, text_field(record, "image_path"), "image_path")
    box = _read_box(record)
    name = stratum.removeprefix(_ARO_PREFIX)
    # As the benchmark does, only the box with the two things is shown.
    image = ImageRef(
        f"{whole.key}#{box}",
        partial(_crop, Path(whole.key), box),
        lambda: fingerprint([whole.digest(), repr(box)]),
    )
    return ChoiceItem(f"{name}-{key}", {"attribution": "attribute"}.get(name, name), image, captions)


def _parse_sugar_crepe(key: str, record: Any, stratum: str, folder: Path) -> ChoiceItem:
    captions = (text_field(record, "caption"), text_field(record, "negative_caption"))
    key = clean(key, "name of the entry")
    image = _make_image(folder, text_field(record, "filename"), "filename")
    return ChoiceItem(f"{stratum}-{key}", stratum, image, captions)


def _parse_winoground(record: Any, folder: Path) -> TwinItem:
    key = key_field(record, "id")
    names = {field: text_field(record, field) for field in ("image_0", "image_1")}
    # The file leaves out the images' extension, which is .png.
    first, second = (
        _make_image(folder, name if Path(name).suffix else f"{name}.png", field) for field, name in names.items()
    )
    stratum = text_field(record, "collapsed_tag") if record.get("collapsed_tag") else "pairs"
    return TwinItem(
        f"winoground-{key}",
        stratum,
        (first, second),
        (text_field(record, "caption_0"), text_field(record, "caption_1")),
    )


def _iterate_items(path: Path, folder: Path, setting: str) -> Iterator[tuple[str, Callable[[], ChoiceItem | TwinItem]]]:
    """Yield the place of each item in the file, and a function that parses it."""
    if path.name.removesuffix(".gz").endswith(".jsonl"):
        for number, record in read_lines(path, setting):
            yield f"line {number}", partial(_parse_winoground, record, folder)
        return
    document = read_document(path, setting)
    stratum = path.name.removesuffix(".gz").removesuffix(".json")
    if stratum == "twins":
        raise UserError(f"{setting}={path}: a metric of pairs of images is named twins. Give the file another name")
    if isinstance(document, list):
        for number, record in enumerate(document):
            yield f"[{number}]", partial(_parse_aro, str(number), record, stratum, folder)
    elif isinstance(document, dict):
        for key, record in document.items():
            yield f"entry {key}", partial(_parse_sugar_crepe, key, record, stratum, folder)
    else:
        raise UserError(f"{setting}={path}: holds neither a list nor an object. Give a file of ARO or SugarCrepe")


def read_composition_files(paths: Sequence[Path], folder: Path, setting: str = "items") -> CompositionTest:
    """Return the items of files of ARO, Winoground or SugarCrepe.

    Args:
        paths: files, each in one of the formats.
        folder: folder of the images that they name.
        setting: setting that holds the paths, for messages.

    Raises:
        UserError: if a file cannot be read, or an entry cannot be used, for example because its image is missing.
    """
    choices: list[ChoiceItem] = []
    twins: list[TwinItem] = []
    seen_ids: set[str] = set()
    for path in paths:
        num_before = len(choices) + len(twins)
        for place, parse in _iterate_items(path, folder, setting):
            try:
                item = parse()
                if item.id in seen_ids:
                    raise RecordError(f"its id {item.id[:60]!r} is that of another entry")
                seen_ids.add(item.id)
            except RecordError as error:
                raise UserError(
                    f"{setting}={path}, {place}: {error}. Correct it, or restore the file from its source"
                ) from None
            (twins if isinstance(item, TwinItem) else choices).append(item)  # type: ignore[arg-type]
        if len(choices) + len(twins) == num_before:
            raise UserError(f"{setting}={path}: there is no item in it. Give a file of ARO, Winoground or SugarCrepe")
    return CompositionTest(choices, twins)
