"""Published sizes of each dataset, and the pages to download it from; docs/data.md says more.

Sizes count what the readers return: images with their captions, pairs with a gold label, questions.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """Published size of one file, or of one split.

    Attributes:
        num: number of examples.
        unit: plural noun for the examples.
        num_captions: captions of all images together; None if the examples are not captioned images.
        source: source of the number.
        first_hand: True if the source is the dataset's own page, paper or file; False if others counted the file.
    """

    num: int
    unit: str
    source: str
    num_captions: int | None = None
    first_hand: bool = True


@dataclass(frozen=True)
class Origin:
    """Origin of a dataset.

    Attributes:
        title: name of the dataset in reports.
        page: address of the project's page.
        images: address of the images; empty if the dataset has none.
    """

    title: str
    page: str
    images: str = ""


_COCO_PAGE = "https://cocodataset.org/#download"
_FLICKR_PAGE = "https://shannon.cs.illinois.edu/DenotationGraph/"
_KARPATHY_PAGE = "https://cs.stanford.edu/people/karpathy/deepimagesent/"

# Keys are names of files in configs/data.
ORIGINS: dict[str, Origin] = {
    "coco": Origin("COCO captions, Karpathy's splits", _KARPATHY_PAGE, _COCO_PAGE),
    "coco-2017": Origin("COCO captions, splits of 2017", _COCO_PAGE, _COCO_PAGE),
    "flickr30k": Origin("Flickr30k, Karpathy's splits", _KARPATHY_PAGE, _FLICKR_PAGE),
    "flickr30k-jsonl": Origin("Flickr30k as JSON lines", _FLICKR_PAGE, _FLICKR_PAGE),
    "nocaps": Origin("nocaps validation", "https://nocaps.org/download", "https://nocaps.org/download"),
    "snli": Origin("SNLI 1.0", "https://nlp.stanford.edu/projects/snli/"),
    "snli-ve": Origin("SNLI-VE", "https://github.com/necla-ml/SNLI-VE", _FLICKR_PAGE),
    "vqa2": Origin("VQA v2", "https://visualqa.org/download.html", _COCO_PAGE),
    "vqa-e": Origin("VQA-E", "https://github.com/liqing-ustc/VQA-E", _COCO_PAGE),
    "visual-news": Origin(
        "Visual News",
        "https://github.com/FuxiaoLiu/VisualNews-Repository",
        "https://github.com/FuxiaoLiu/VisualNews-Repository",
    ),
    "conceptual-captions": Origin("Conceptual Captions", "https://ai.google.com/research/ConceptualCaptions/download"),
}

_KARPATHY = "Karpathy's split, as counted by the catalogue of TensorFlow Datasets"
_COCO = "the official file, counted"
# The captions of 2014 and of 2017 add up to the same 616,767, and so do Karpathy's.
_COCO_COUNTED = "others who counted the official file"
_SNLI = "arXiv 1508.05326: of 550,152, 10,000 and 10,000 pairs, those with a gold label"
_SNLI_VE = "the project's page"
_VQA = "visualqa.org/download.html"
_NOCAPS = "nocaps.org/download"
_VQA_E = "arXiv 1803.07464, at second hand"
_CONCEPTUAL = "the description of version 1.1, at second hand"
_FLICKR = "Karpathy's split; the files of Multi30k hold as many"

# Keys are names of files that hold exactly one split.
_BY_FILE: dict[str, Published] = {
    "captions_train2014.json": Published(82_783, "images", _COCO_COUNTED, 414_113, first_hand=False),
    "captions_val2014.json": Published(40_504, "images", _COCO_COUNTED, 202_654, first_hand=False),
    "captions_train2017.json": Published(118_287, "images", _COCO_COUNTED, 591_753, first_hand=False),
    "captions_val2017.json": Published(5_000, "images", _COCO, 25_014),
    "results_20130124.token": Published(31_783, "images", "the project's page", 158_915),
    "v2_OpenEnded_mscoco_test2015_questions.json": Published(447_793, "questions", _VQA),
}

# Keys are the dataset's `name` and a split.
_BY_SPLIT: dict[tuple[str, str], Published] = {
    ("coco", "train"): Published(82_783, "images", _KARPATHY, 414_113, first_hand=False),
    ("coco", "train+restval"): Published(113_287, "images", _KARPATHY, 566_747, first_hand=False),
    ("coco", "val"): Published(5_000, "images", _KARPATHY, 25_010, first_hand=False),
    ("coco", "test"): Published(5_000, "images", _KARPATHY, 25_010, first_hand=False),
    ("flickr30k", "train"): Published(29_000, "images", _FLICKR, 145_000),
    ("flickr30k", "val"): Published(1_014, "images", _FLICKR, 5_070),
    ("flickr30k", "test"): Published(1_000, "images", _FLICKR, 5_000),
    ("nocaps", "val"): Published(4_500, "images", _NOCAPS, 45_000),
    ("nocaps", "test"): Published(4_500, "images", _NOCAPS, 45_000),
    ("snli", "train"): Published(549_367, "pairs", _SNLI, first_hand=False),
    ("snli", "val"): Published(9_842, "pairs", _SNLI),
    ("snli", "test"): Published(9_824, "pairs", _SNLI),
    ("snli-ve", "train"): Published(529_527, "pairs", _SNLI_VE),
    ("snli-ve", "val"): Published(17_858, "pairs", _SNLI_VE),
    ("snli-ve", "test"): Published(17_901, "pairs", _SNLI_VE),
    ("vqa2", "train"): Published(443_757, "questions", _VQA),
    ("vqa2", "val"): Published(214_354, "questions", _VQA),
    ("vqa2", "test"): Published(107_394, "questions", "others who counted test-dev", first_hand=False),
    ("vqa-e", "train"): Published(181_298, "questions", _VQA_E, first_hand=False),
    ("vqa-e", "val"): Published(88_488, "questions", _VQA_E, first_hand=False),
    ("vqa-e", "test"): Published(88_488, "questions", _VQA_E, first_hand=False),
    ("conceptual-captions", "train"): Published(3_318_333, "captions", _CONCEPTUAL, first_hand=False),
    ("conceptual-captions", "val"): Published(15_840, "captions", _CONCEPTUAL, first_hand=False),
}

UNITS = {
    "coco": "images",
    "flickr30k": "images",
    "nocaps": "images",
    "snli": "pairs",
    "snli-ve": "pairs",
    "vqa2": "questions",
    "vqa-e": "questions",
    "visual-news": "images",
    "conceptual-captions": "captions",
}


def find_published_size(data_name: str, split: str, path: Path) -> Published | None:
    """Return the published size of a file that is used for a split; None if it is not known.

    Args:
        data_name: `name` of the dataset.
        split: "train", "train+restval", "val" or "test".
        path: the file, or its .gz.
    """
    return _BY_FILE.get(path.name.removesuffix(".gz")) or _BY_SPLIT.get((data_name, split))
