"""Readers: one file a family of data, each yields Examples."""

from close_transfer.config.data import (
    CocoData,
    ConceptualCaptionsData,
    DataConfig,
    FileData,
    Flickr30kData,
    HuggingFaceData,
    NocapsData,
    PicturebookData,
    SnliData,
    Vqa2Data,
    VqaEData,
)
from close_transfer.core.errors import UserError
from close_transfer.data.sources import (
    coco,
    conceptual_captions,
    file,
    flickr30k,
    huggingface,
    picturebook,
    snli,
    visual_news,
    vqa,
)
from close_transfer.data.sources.images import keep_with_images
from close_transfer.data.sources.loaded import LoadedSplit

__all__ = ["SERVED_TASKS", "LoadedSplit", "load_examples"]

_CAPTIONING = ("captioning", "captioning-multi")

# Which tasks the examples of each source serve.
SERVED_TASKS: dict[str, tuple[str, ...]] = {
    "picturebook": (*_CAPTIONING, "snli-ve", "vqa"),
    "file": (*_CAPTIONING, "snli-ve", "vqa", "custom"),
    "huggingface": (*_CAPTIONING, "snli-ve", "vqa", "custom"),
    "coco": _CAPTIONING,
    "flickr30k": _CAPTIONING,
    "nocaps": _CAPTIONING,
    "conceptual-captions": _CAPTIONING,
    "snli": ("snli-ve",),
    "snli-ve": ("snli-ve",),
    "vqa2": ("vqa",),
    "vqa-e": ("vqa-e",),
    "visual-news": ("visual-news",),
}


def _check(data: DataConfig, task: str, split: str) -> None:
    if task not in SERVED_TASKS[data.name]:
        serving = ", ".join(name for name, tasks in SERVED_TASKS.items() if task in tasks)
        raise UserError(
            f"task={task}: data={data.name} serves {', '.join(SERVED_TASKS[data.name])}; choose one of these, or one of data={serving}"
        )
    if split == "test-novel" and data.name != "picturebook":
        raise UserError("split=test-novel: only data=picturebook has it; use split=test")


def load_examples(
    data: DataConfig, task: str, split: str, texts_needed: bool = True, images_needed: bool = False
) -> LoadedSplit:
    """The examples of one split of some data for a task.

    Args:
        data: which data, and where.
        task: what they are for.
        split: "train", "val", "test", or Picturebook's "test-novel".
        texts_needed: False where images stand for the scenes, so that text need not be there.
        images_needed: True where the images will be opened, so that they must be there.

    Raises:
        UserError: if the data cannot serve the task or the split, or cannot be read; and with the
            counts, if images are needed and missing.
    """
    _check(data, task, split)
    loaded = _load(data, task, split, texts_needed)
    if not loaded.examples:
        raise UserError(f"data={data.name}: there is no example of task={task} in split={split}; give more data")
    if images_needed and not isinstance(data, PicturebookData):
        loaded.examples, missing = keep_with_images(loaded.examples, split, data.on_missing_image)
        loaded.skipped += missing
    return loaded


def _load(data: DataConfig, task: str, split: str, texts_needed: bool) -> LoadedSplit:
    match data:
        case PicturebookData():
            return picturebook.load(data, task, split)  # type: ignore[arg-type]
        case FileData():
            return file.load(data, task, split)
        case HuggingFaceData():
            return huggingface.load(data, task, split)
        case CocoData() | NocapsData():
            return coco.load(data, split)
        case Flickr30kData():
            return flickr30k.load(data, split)
        case ConceptualCaptionsData():
            return conceptual_captions.load(data, split)
        case SnliData():
            return snli.load(data, split)
        case Vqa2Data():
            return vqa.load_vqa2(data, split, texts_needed)
        case VqaEData():
            return vqa.load_vqa_e(data, split)
        case _:
            return visual_news.load(data, split)
