"""What `check_data.py` says: a line a file, what is missing and where it is to be had, what can be run."""

import shlex
import textwrap

from close_transfer.config.data import Vqa2Data
from close_transfer.data.dataset_check import DataCheck, FileCheck, ImageCheck
from close_transfer.data.leakage import Leaks
from close_transfer.data.sources.published import ORIGINS, UNITS

_WIDTH = 118

# What the method's paper uses. The parts of the built-in world, which are the default, know no real image.
_PARTS = "clip=open_clip clip.model=ViT-L-14 clip.pretrained=openai lm=t5-base"
_PARTS_NEED = (
    "these parts are downloaded once (offline: clip.weights=FILE and lm=FOLDER, docs/own_data.md); eval_image.py takes "
    "them from the run, the task's latest unless run=FOLDER is given"
)


def _size(num: int, num_captions: int | None, unit: str) -> str:
    return f"{num:,} {unit}" + (f", {num_captions:,} captions" if num_captions is not None else "")


def _verdict(check: FileCheck) -> str:
    if check.state == "missing":
        return "MISSING"
    if check.state == "unreadable":
        return "CANNOT BE READ"
    published = check.published
    if published is None:
        return f"{check.state.upper() if check.fault else 'there'}; no published count to compare with"
    expected = _size(published.num, published.num_captions, published.unit)
    same = (len(check.examples), check.num_captions) == (published.num, published.num_captions or check.num_captions)
    if same:
        told = "as published"
    elif check.state == "larger":
        told = f"MORE than the published {expected}: another version?"
    else:
        missing = published.num - len(check.examples)
        told = f"{missing:,} fewer than the published {expected}: a SUBSET" if missing else f"published are {expected}"
    return f"DAMAGED; {told}" if check.fault else told


def _row(check: FileCheck, unit: str) -> tuple[str, str, str, str]:
    if not check.usable:
        return check.role, check.path.name, "", _verdict(check)
    captions = check.num_captions if unit == "images" and check.num_captions != len(check.examples) else None
    return check.role, check.path.name, _size(len(check.examples), captions, unit), _verdict(check)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _paragraph(text: str, start: str = "    ") -> list[str]:
    return [
        line
        for part in text.splitlines()
        for line in textwrap.wrap(
            part,
            _WIDTH,
            initial_indent=start,
            subsequent_indent="      ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


def _missing(check: DataCheck) -> list[str]:
    origin = ORIGINS.get(check.choice, ORIGINS[check.data.name])
    pages: dict[str, str] = {}
    for one in [*check.splits.values(), *check.others]:
        if one.state == "missing":
            pages[str(one.path)] = ORIGINS["coco-2017"].page if one.role.startswith("captions of") else origin.page
    if not pages:
        return []
    return ["missing (each is also found as .gz)", *_table([(path, f"from {page}") for path, page in pages.items()])]


def _details(check: DataCheck) -> list[str]:
    lines: list[str] = []
    for one in [*check.splits.values(), *check.others]:
        lines += _paragraph(f"{one.role}: {one.fault}") if one.fault else []
        lines += [line for note in one.notes for line in _paragraph(f"{one.role}: {note}")]
        if one.usable and one.published and one.state != "complete":
            lines += _paragraph(f"{one.role}: the published count is from {one.published.source}")
    return [*lines, *_missing(check)]


def _images(check: DataCheck) -> list[str]:
    rows: list[tuple[str, ...]] = []
    faults: list[str] = []
    for split, one in check.splits.items():
        if (images := one.images) is None:
            continue
        told = f"{images.num_there:,} of {images.num_named:,} are there"
        if images.unreadable:
            told += f"; of those opened, {len(images.unreadable)} CANNOT BE READ"
        rows.append((split, str(images.folder), told))
        faults += [line for fault in images.unreadable for line in _paragraph(f"{split}: {fault}")]
    if not rows:
        return []
    page = ORIGINS.get(check.choice, ORIGINS[check.data.name]).images
    complete = all(one.images is None or one.images.complete for one in check.splits.values())
    return ["images", *_table(rows), *faults, *([] if complete else _paragraph(f"images are from {page}"))]


def _why_not(check: DataCheck, splits: tuple[str, ...], needs_text: bool) -> str:
    """Why a command that reads these splits cannot run; empty if it can."""
    for split in splits:
        if split not in check.splits:
            return f"there is no split {split}"
        if not check.splits[split].usable:
            return f"{split} is missing" if check.splits[split].state == "missing" else f"{split} cannot be read"
        for one in check.others:
            if one.role.startswith("answers of") and one.role.endswith(f" {split}"):
                return f"the {one.role} are missing"
            if needs_text and one.role == f"captions of {split}" and not one.usable:
                return f"the {one.role} are missing or cannot be read"
        if needs_text and check.splits[split].num_untold == len(check.splits[split].examples):
            return f"no question of {split} is about an image with a caption"
    return ""


def _settings(check: DataCheck, splits: tuple[str, ...], needs_text: bool) -> str:
    given = [f"task={check.task}", f"data={check.choice}", *map(shlex.quote, check.overrides)]
    files = [check.splits[split] for split in splits if split in check.splits]
    if any(one.state == "damaged" for one in files):
        given.append("data.on_bad_rows=skip")
    if needs_text and any(one.num_untold for one in files):
        given.append("data.on_missing_scene=skip")
    return " ".join(dict.fromkeys(given))


def _without_images(images: ImageCheck | None, split: str) -> str:
    """Why nothing can be tested on the images; empty if it can, be it on some of them."""
    if images is None:
        return "the data has no images"
    if not images.num_there:
        return f"images of {split} are missing"
    return "images are damaged" if images.unreadable else ""


def _runs(check: DataCheck) -> list[str]:
    tested = check.evaluation_split
    split = "" if tested == "test" else f" split={tested}"
    no_images, seen = _without_images(check.splits[tested].images, tested), _settings(check, (tested,), False)
    if (images := check.splits[tested].images) and 0 < images.num_there < images.num_named:
        seen += " data.on_missing_image=skip"
    training, testing = ("train", "val"), (tested,)
    lines = []
    for why_not, command in [
        (_why_not(check, training, True), f"train_text_only.py {_settings(check, training, True)} {_PARTS}"),
        (_why_not(check, testing, True), f"eval_image.py {_settings(check, testing, True)}{split} scene=text"),
        (_why_not(check, testing, False) or no_images, f"eval_image.py {seen}{split}"),
    ]:
        told = f"no ({why_not}): " if why_not else "yes: "
        lines += _paragraph(f"{told}python scripts/{command}", "  ")
    lines += _paragraph(_PARTS_NEED, "  ")
    if isinstance(check.data, Vqa2Data) and tested != "test":
        lines += _paragraph("test has no answers to score against; its predictions go to the evaluation server")
    return ["what can be run", *lines]


def describe_leaks(leaks: Leaks, compared: str) -> list[str]:
    """The counts and the first pairs."""
    lines = _paragraph(
        f"of {leaks.num_training:,} texts of {compared} ({leaks.num_references:,} different ones), "
        f"{leaks.num_identical:,} are identical to one and {leaks.num_near:,} nearly so",
        "  ",
    )
    for pair in leaks.examples:
        lines += [f"    {pair.kind + ':':<10} {pair.training}", f"    {'':<10} {pair.reference}"]
    return lines


def describe(check: DataCheck, leakage: bool = False) -> str:
    """The whole report, as printed."""
    origin = ORIGINS.get(check.choice, ORIGINS[check.data.name])
    unit = UNITS[check.data.name]
    rows = [_row(one, unit) for one in check.splits.values()]
    rows += [_row(one, "images") for one in check.others]
    lines = [f"{check.choice}: {origin.title}, in {check.data.root}", *_table([*rows]), *_details(check)]
    lines += [*_images(check), *_runs(check)]
    if leakage:
        lines.append("leakage")
        if check.leaks is None:
            lines.append("  not looked for: it takes the texts of a training and an evaluation split")
        else:
            lines += describe_leaks(check.leaks, f"train, against those of {check.evaluation_split}")
    lines.append("complete" if check.complete else "not complete; docs/data.md says what goes where")
    return "\n".join(lines)
