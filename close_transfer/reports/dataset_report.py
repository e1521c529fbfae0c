"""Report of `check_data.py`: one line per file, missing files with their download pages, and commands that can run."""

import shlex
import textwrap

from close_transfer.data.dataset_check import DataCheck, FileCheck, ImageCheck
from close_transfer.data.leakage import Leaks
from close_transfer.data.sources.published import ORIGINS, UNITS
from close_transfer.tasks import list_tasks

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


def _format_settings(check: DataCheck, splits: tuple[str, ...], needs_text: bool) -> str:
    settings = [f"task={list_tasks(check.kind)[0]}", f"data={check.choice}", *map(shlex.quote, check.overrides)]
    files = [check.splits[split] for split in splits if split in check.splits]
    if any(file_check.state == "damaged" for file_check in files):
        settings.append("data.on_bad_rows=skip")
    if needs_text and any(file_check.num_uncaptioned for file_check in files):
        settings.append("data.on_missing_scene=skip")
    return " ".join(dict.fromkeys(settings))


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
    no_images, image_settings = (
        _explain_missing_images(check.splits[tested_split].images, tested_split),
        _format_settings(check, (tested_split,), False),
    )
    if (images := check.splits[tested_split].images) and 0 < images.num_there < images.num_named:
        image_settings += " data.on_missing_image=skip"
    training, testing = ("train", "val"), (tested_split,)
    lines = []
    for refusal, command in [
        (
            _explain_refusal(check, training, True),
            f"train_text_only.py {_format_settings(check, training, True)} {_PARTS}",
        ),
        (
            _explain_refusal(check, testing, True),
            f"eval_image.py {_format_settings(check, testing, True)}{split_setting} scene=text",
        ),
        (_explain_refusal(check, testing, False) or no_images, f"eval_image.py {image_settings}{split_setting}"),
    ]:
        prefix = f"no ({refusal}): " if refusal else "yes: "
        lines += _wrap_paragraph(f"{prefix}python scripts/{command}", "  ")
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
