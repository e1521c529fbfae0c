"""Report of `check_data.py`: one line per file, missing files with their download pages, and commands that can run."""

import shlex
import textwrap
from typing import cast

from close_transfer.config.data import DataConfig
from close_transfer.core.errors import UserError
from close_transfer.data.dataset_check import DataCheck, FileCheck, ImageCheck
from close_transfer.data.leakage import Leaks
from close_transfer.data.sources.published import ORIGINS, UNITS
from close_transfer.tasks import get_task, list_tasks
from close_transfer.tasks.loading import load_task_examples

_WIDTH = 118  # characters per line

# The encoder and language model of the method's paper. The defaults, Picturebook's, were not trained on photographs.
_PARTS = "clip=open_clip clip.model=ViT-L-14 clip.pretrained=openai lm=t5-base"
_PARTS_NEED = (
    "The encoder and the language model are downloaded once (offline: clip.weights=FILE and lm=FOLDER, "
    "docs/custom_data_and_models.md). eval_image.py takes them from the run: the task's latest, or run=FOLDER."
)


def _format_size(num: int, num_captions: int | None, unit: str) -> str:
    return f"{num:,} {unit}" + (f", {num_captions:,} captions" if num_captions is not None else "")


def _format_verdict(check: FileCheck) -> str:
    if check.state == "missing":
        return "MISSING"
    if check.state == "unreadable":
        return "CANNOT BE READ"
    published = check.published
    if published is None:
        return f"{check.state.upper() if check.fault else 'found'}; no published count to compare with"
    expected = _format_size(published.num, published.num_captions, published.unit)
    is_as_published = (len(check.examples), check.num_captions) == (
        published.num,
        published.num_captions or check.num_captions,
    )
    if is_as_published:
        verdict = "as published"
    elif check.state == "larger":
        verdict = f"MORE than the published {expected}: another version?"
    else:
        num_missing = published.num - len(check.examples)
        verdict = (
            f"{num_missing:,} fewer than the published {expected}: a SUBSET"
            if num_missing
            else f"published: {expected}"
        )
    return f"DAMAGED; {verdict}" if check.fault else verdict


def _build_row(check: FileCheck, unit: str) -> tuple[str, str, str, str]:
    if not check.is_usable:
        return check.role, check.path.name, "", _format_verdict(check)
    captions = check.num_captions if unit == "images" and check.num_captions != len(check.examples) else None
    return check.role, check.path.name, _format_size(len(check.examples), captions, unit), _format_verdict(check)


def _format_table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _wrap_paragraph(text: str, start: str = "    ") -> list[str]:
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


def _list_missing(check: DataCheck) -> list[str]:
    origin = ORIGINS.get(check.choice, ORIGINS[check.data.name])
    pages: dict[str, str] = {}
    for file_check in [*check.splits.values(), *check.others]:
        if file_check.state == "missing":
            pages[str(file_check.path)] = (
                ORIGINS["coco-2017"].page if file_check.role.startswith("captions of") else origin.page
            )
    if not pages:
        return []
    return [
        "missing files (each may also be a .gz file)",
        *_format_table([(path, f"from {page}") for path, page in pages.items()]),
    ]


def _list_details(check: DataCheck) -> list[str]:
    lines: list[str] = []
    for file_check in [*check.splits.values(), *check.others]:
        lines += _wrap_paragraph(f"{file_check.role}: {file_check.fault}") if file_check.fault else []
        lines += [line for note in file_check.notes for line in _wrap_paragraph(f"{file_check.role}: {note}")]
        if file_check.is_usable and file_check.published and file_check.state != "complete":
            lines += _wrap_paragraph(f"{file_check.role}: the published count is from {file_check.published.source}")
    return [*lines, *_list_missing(check)]


def _list_images(check: DataCheck) -> list[str]:
    rows: list[tuple[str, ...]] = []
    faults: list[str] = []
    for split, file_check in check.splits.items():
        if (images := file_check.images) is None:
            continue
        status = f"{images.num_there:,} of {images.num_named:,} found"
        if images.unreadable:
            status += f"; {len(images.unreadable)} of those opened CANNOT BE READ"
        rows.append((split, str(images.folder), status))
        faults += [line for fault in images.unreadable for line in _wrap_paragraph(f"{split}: {fault}")]
    if not rows:
        return []
    page = ORIGINS.get(check.choice, ORIGINS[check.data.name]).images
    complete = all(file_check.images is None or file_check.images.is_complete for file_check in check.splits.values())
    return [
        "images",
        *_format_table(rows),
        *faults,
        *([] if complete else _wrap_paragraph(f"download images from {page}")),
    ]


def _explain_refusal(check: DataCheck, splits: tuple[str, ...], needs_text: bool) -> str:
    """Return the reason why a command that reads these splits cannot run; empty if it can."""
    for split in splits:
        if split not in check.splits:
            return f"the dataset has no split {split}"
        if not check.splits[split].is_usable:
            return f"{split} is missing" if check.splits[split].state == "missing" else f"{split} cannot be read"
        for file_check in check.others:
            if file_check.role.startswith("answers of") and file_check.role.endswith(f" {split}"):
                return f"the {file_check.role} are missing"
            if needs_text and file_check.role == f"captions of {split}" and not file_check.is_usable:
                return f"the {file_check.role} are missing or cannot be read"
        if needs_text and check.splits[split].num_uncaptioned == len(check.splits[split].examples):
            return f"no question of {split} is about an image with a caption"
    return ""


def _choose_skips(check: DataCheck, splits: tuple[str, ...], needs_text: bool, needs_images: bool) -> dict[str, str]:
    """Return the settings of the data with which a command leaves out what it cannot use."""
    files = [check.splits[split] for split in splits if split in check.splits]
    skips = {}
    if any(file_check.state == "damaged" for file_check in files):
        skips["on_bad_rows"] = "skip"
    if needs_text and any(file_check.num_uncaptioned for file_check in files):
        skips["on_missing_scene"] = "skip"
    if needs_images and any(images and 0 < images.num_there < images.num_named for images in (f.images for f in files)):
        skips["on_missing_image"] = "skip"
    return skips


def _format_settings(check: DataCheck, skips: dict[str, str]) -> str:
    settings = [f"task={list_tasks(check.kind)[0]}", f"data={check.choice}", *map(shlex.quote, check.overrides)]
    return " ".join(dict.fromkeys([*settings, *(f"data.{name}={value}" for name, value in skips.items())]))


def _try_reading(
    check: DataCheck, splits: tuple[str, ...], skips: dict[str, str], needs_text: bool, needs_images: bool
) -> str:
    """Read and prepare the splits as a command does; return the sentence with which it would refuse, or nothing."""
    data = cast(DataConfig, check.data.model_copy(update=skips))
    task = get_task(list_tasks(check.kind)[0])()
    try:
        for split in splits:
            examples = load_task_examples(
                task.name, data, split, texts_needed=needs_text, images_needed=needs_images
            ).examples
            if split == check.evaluation_split and len(splits) == 1:
                task.prepare_for_testing(examples, "image" if needs_images else "text")
            elif split == "train":
                task.prepare_for_training(examples)
            else:
                task.prepare_for_validation(examples)
    except UserError as error:
        return str(error).splitlines()[0].partition(". ")[0]
    return ""


def _explain_missing_images(images: ImageCheck | None, split: str) -> str:
    """Return the reason why images cannot be evaluated on; empty if at least some of them can."""
    if images is None:
        return "the data has no images"
    if not images.num_there:
        return f"images of {split} are missing"
    return "images are damaged" if images.unreadable else ""


def _list_runs(check: DataCheck) -> list[str]:
    tested_split = check.evaluation_split
    split_setting = "" if tested_split == "test" else f" split={tested_split}"
    no_images = _explain_missing_images(check.splits[tested_split].images, tested_split)
    lines = []
    for script, splits, needs_text, needs_images, end in [
        ("train_text_only.py", ("train", "val"), True, False, f" {_PARTS}"),
        ("eval_image.py", (tested_split,), True, False, f"{split_setting} scene=text"),
        ("eval_image.py", (tested_split,), False, True, split_setting),
    ]:
        skips = _choose_skips(check, splits, needs_text, needs_images)
        refusal = (
            _explain_refusal(check, splits, needs_text)
            or (no_images if needs_images else "")
            or _try_reading(check, splits, skips, needs_text, needs_images)
        )
        prefix = f"no ({refusal}): " if refusal else "yes: "
        command = f"python scripts/{script} {_format_settings(check, skips)}{end}"
        lines += _wrap_paragraph(f"{prefix}{command}", "  ")
    lines += _wrap_paragraph(_PARTS_NEED, "  ")
    if check.data.hides_test_answers and tested_split != "test":
        lines += _wrap_paragraph("The answers of test are not public: submit its predictions to the evaluation server.")
    return ["commands", *lines]


def describe_leaks(leaks: Leaks, training: str, evaluation: str) -> list[str]:
    """Return the numbers of identical and nearly identical texts, and the first pairs, as lines.

    Args:
        leaks: training texts that are in the evaluation text.
        training: name of the training split.
        evaluation: name of the evaluation split.
    """
    lines = _wrap_paragraph(
        f"{leaks.num_identical:,} of {leaks.num_training:,} texts of {training} are identical to one of the "
        f"{leaks.num_references:,} different texts of {evaluation}, and {leaks.num_near:,} nearly identical",
        "  ",
    )
    for pair in leaks.examples:
        lines += [f"    {pair.kind + ':':<10} {pair.training}", f"    {'':<10} {pair.reference}"]
    return lines


def describe(check: DataCheck, leakage: bool = False) -> str:
    """Return the whole report as text.

    Args:
        check: result of the check.
        leakage: whether the report has a part on leakage.
    """
    origin = ORIGINS.get(check.choice, ORIGINS[check.data.name])
    unit = UNITS[check.data.name]
    rows = [_build_row(file_check, unit) for file_check in check.splits.values()]
    rows += [_build_row(file_check, "images") for file_check in check.others]
    lines = [f"{check.choice}: {origin.title}, in {check.data.root}", *_format_table([*rows]), *_list_details(check)]
    lines += [*_list_images(check), *_list_runs(check)]
    if leakage:
        lines.append("leakage")
        if check.leaks is None:
            lines.append("  not checked, because it needs the texts of a training and an evaluation split")
        else:
            lines += describe_leaks(check.leaks, "train", check.evaluation_split)
    lines.append("complete" if check.is_complete else "not complete; docs/data.md lists the files and folders")
    return "\n".join(lines)
