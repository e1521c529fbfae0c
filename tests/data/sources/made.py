"""Small files in the original formats of the published datasets, and their loading with the shipped settings."""

import gzip
import json
from pathlib import Path

from omegaconf import OmegaConf
from PIL import Image
from pydantic import TypeAdapter

from close_transfer.config.data import DataConfig
from close_transfer.tasks.loading import load_task_examples
from tests.settings import read_settings


def data_config(choice, *overrides):
    """Return the settings of `data=CHOICE` and overrides below `data`, with the current folder as the root."""
    values = OmegaConf.create(read_settings(f"data/{choice}.yaml"))
    roots = [f"{key}=." for key in ("root", "captions_root") if key in values]
    merged = OmegaConf.merge(values, OmegaConf.from_dotlist([*roots, *overrides]))
    return TypeAdapter(DataConfig).validate_python(OmegaConf.to_container(merged, resolve=True))


def load(choice, task, split, *overrides, **needed):
    return load_task_examples(task, data_config(choice, *overrides), split, **needed)


def write(name, content):
    """Writes text, bytes or anything JSON; packed if the name says so."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, (str, bytes)):
        content = json.dumps(content)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return name


def json_lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def picture(name, colour="red", size=(40, 30)):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(name)
    return name


def coco_name(folder, image_id):
    """Name of a COCO image of 2014 (cocodataset.org): twelve digits after the folder's name."""
    return f"COCO_{folder}_{image_id:012d}.jpg"


def official(captions, folder="val2014", **more):
    """COCO's annotations file: {image id: captions}; `more` are fields of the images, {image id: value} each."""
    ids = [image for image, told in captions.items() for _ in told]
    texts = [text for told in captions.values() for text in told]
    return {
        "info": {"year": 2014, "version": "1.0"},
        "licenses": [{"id": 1, "name": "Attribution"}],
        "type": "captions",
        "images": [
            {"license": 1, "file_name": coco_name(folder, image), "height": 30, "width": 40, "id": image}
            | {key: values[image] for key, values in more.items()}
            for image in captions
        ],
        "annotations": [
            {"image_id": image, "id": 1000 + number, "caption": text}
            for number, (image, text) in enumerate(zip(ids, texts, strict=True))
        ],
    }


def karpathy_image(number, split, captions, folder="train2014"):
    """An image of Karpathy's dataset_coco.json."""
    return {
        "filepath": folder,
        "sentids": [10 * number + i for i in range(len(captions))],
        "filename": coco_name(folder, number),
        "imgid": number - 1,
        "split": split,
        "sentences": [
            {"tokens": text.lower().strip(".").split(), "raw": text, "imgid": number - 1, "sentid": 10 * number + i}
            for i, text in enumerate(captions)
        ],
        "cocoid": number,
    }


def karpathy(images, dataset="coco"):
    return {"images": images, "dataset": dataset}


def questions(asked, split="train2014"):
    """VQA v2's questions file: (question id, image id, question)."""
    return {
        "info": {"version": "2.0"},
        "task_type": "Open-Ended",
        "data_type": "mscoco",
        "license": {"name": "Creative Commons"},
        "data_subtype": split,
        "questions": [{"image_id": image, "question": text, "question_id": name} for name, image, text in asked],
    }


def annotation(name, image, answers, kind="other", beginning="what is"):
    """An entry of VQA v2's annotations file."""
    return {
        "question_type": beginning,
        "multiple_choice_answer": answers[0],
        "answers": [
            {"answer": answer, "answer_confidence": "yes", "answer_id": number}
            for number, answer in enumerate(answers, start=1)
        ],
        "image_id": image,
        "answer_type": kind,
        "question_id": name,
    }


def annotations(entries, split="train2014"):
    return {
        "info": {"version": "2.0"},
        "data_type": "mscoco",
        "data_subtype": split,
        "annotations": entries,
        "license": {},
    }


def vqa_e(image, question, answers, explanation, kind="what is"):
    """An entry of VQA-E's list; an explanation stands with how far it was trusted."""
    return {
        "img_id": image,
        "question": question,
        "question_type": kind,
        "answers": answers,
        "multiple_choice_answer": answers[0],
        "explanation": [explanation, 0.71],
    }


def pair(label, premise, hypothesis, name):
    """A line of SNLI; the parses are what nobody reads here."""
    return {
        "annotator_labels": [label],
        "captionID": f"{name}.jpg#0",
        "gold_label": label,
        "pairID": name,
        "sentence1": premise,
        "sentence1_parse": "(ROOT)",
        "sentence2": hypothesis,
        "sentence2_parse": "(ROOT)",
    }
