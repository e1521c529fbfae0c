"""Answers for pictures or vectors that belong to no dataset: a file, a folder, a matrix.

They are worked through in batches, so memory does not grow with their number, and a journal keeps what
was answered: the same command goes on where a kill came.
"""

import filecmp
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from close_transfer.config.components import OpenClipConfig, PrecomputedConfig, TaskConfig, TimmConfig
from close_transfer.config.predict import PredictConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.archive import set_aside
from close_transfer.core.atomic_files import atomic_path, file_fingerprint, fingerprint, sync, write_text
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Prediction
from close_transfer.data.image_files import OPENING, find_pictures, open_picture, why_unreadable
from close_transfer.data.sources.own_rows import columns_of
from close_transfer.encoders import Encoder, load_encoder
from close_transfer.encoders.precomputed import read_array
from close_transfer.inference.build_memory import build_memory
from close_transfer.inference.decoding import Decoder, prediction_from
from close_transfer.inference.journal import Journal
from close_transfer.inference.loading import check_encoder, encoder_settings, load_model
from close_transfer.inference.reranking import Reranker, asked_decoding
from close_transfer.models.device import pick_device
from close_transfer.models.network import TransferNetwork
from close_transfer.tasks import task_of
from close_transfer.training.checkpoints import RunFolder
from close_transfer.training.run_folder import find_run, is_saved_model, read_run

_NUM_SHOWN, _NUM_UNREADABLE_SHOWN = 3, 10

Unreadable = dict[str, str]  # id and reason


@dataclass(frozen=True)
class PredictionSummary:
    """What was written where, and what could not be read; all of that is in `unreadable_output`."""

    output: Path
    num_predictions: int
    first_lines: tuple[str, ...]
    unreadable_output: Path
    num_unreadable: int
    first_unreadable: tuple[Unreadable, ...]
    num_other: int


class _Inputs(Protocol):
    """What is to be answered, in order.

    Attributes:
        num: how many there are.
        num_other: files that were left out by their names.
        faults: what is known beforehand to be unreadable.
        key: all that decides their vectors, for a journal.
    """

    num: int
    num_other: int
    faults: list[Unreadable]
    key: dict[str, str]

    def batch(self, start: int, end: int) -> tuple[list[str], NDArray[np.float32], list[Unreadable]]:
        """Ids and vectors of the readable ones from `start` to before `end`; the others with reasons."""

    def seen_by(self, encoder: Encoder, start: int, end: int, ids: Sequence[str]) -> NDArray[np.float32]:
        """Vectors by another encoder of those `ids` that are from `start` to before `end`."""


class _Pictures:
    def __init__(self, root: Path, model: TransferNetwork, clip: OpenClipConfig | TimmConfig, device: str) -> None:
        found = find_pictures(root)
        self._files = found.files
        self.num, self.num_other = len(found.files), found.num_other
        self.faults = [{"id": name, "reason": reason} for name, reason in found.faults]
        self._encoder = load_encoder(clip, device)
        check_encoder(self._encoder, model)
        self.key = {
            "encoder": fingerprint([self._encoder.image_key, OPENING, str(clip.batch_size)]),
            "pictures": fingerprint(f"{name}\0{_stamp(path)}" for name, path in found.files),
        }

    def batch(self, start: int, end: int) -> tuple[list[str], NDArray[np.float32], list[Unreadable]]:
        names: list[str] = []
        unreadable: list[Unreadable] = []

        def opened() -> Iterator[Image.Image]:
            for name, path in self._files[start:end]:
                try:
                    picture = open_picture(path)
                except UserError as error:
                    unreadable.append({"id": name, "reason": why_unreadable(error)})
                    continue
                names.append(name)
                yield picture

        return names, self._encoder.encode_images(opened()), unreadable

    def seen_by(self, encoder: Encoder, start: int, end: int, ids: Sequence[str]) -> NDArray[np.float32]:
        readable = set(ids)
        return encoder.encode_images(open_picture(path) for name, path in self._files[start:end] if name in readable)


def _stamp(path: Path) -> str:
    """What changes when a file is written anew."""
    try:
        status = path.stat()
    except OSError as error:
        return f"unreadable: {error.errno}"
    return f"{status.st_size} {status.st_mtime_ns}"


class _Vectors:
    def __init__(self, path: Path, model: TransferNetwork) -> None:
        self._array = read_array(path, "embeddings")
        trained = model.config.encoder
        if self._array.shape[-1] != trained["dim"]:
            raise UserError(
                f"embeddings={path}: rows are {self._array.shape[-1]} wide, but the run was trained on {trained['name']}, {trained['dim']} wide; encode with that encoder"
            )
        self.num, self.num_other = len(self._array), 0
        self.faults: list[Unreadable] = []
        self.key = {"embeddings": file_fingerprint(path)}

    def batch(self, start: int, end: int) -> tuple[list[str], NDArray[np.float32], list[Unreadable]]:
        block = np.array(self._array[start:end], dtype=np.float32)
        return [str(start + row) for row in range(len(block))], block, []

    def seen_by(self, encoder: Encoder, start: int, end: int, ids: Sequence[str]) -> NDArray[np.float32]:
        raise UserError(
            "reranker: there are vectors of the run's own encoder only; give images=, or leave the reranker out"
        )


def _check_prompt(config: PredictConfig, template: str | None) -> None:
    """Whether the prompt is one that training may have seen: the template of its data, with the columns filled in."""
    if template is None or (config.prompt and not any(f"{{{name}}}" in config.prompt for name in columns_of(template))):
        return
    what = "has braces that are not filled in" if config.prompt else "asks nothing"
    raise UserError(
        f"prompt={config.prompt}: {what}, but the run was trained to answer data.prompt={template!r}; give prompt='...' in "
        "these words, with text in place of every name in braces"
    )


def _check(config: PredictConfig, labels: Sequence[str], template: str | None) -> None:
    _check_prompt(config, template)
    if config.task in ("snli-ve", "vqa") and not config.prompt:
        what = "hypothesis" if labels else "question"
        raise UserError(f"task={config.task} needs a {what}; give prompt='...'")
    if config.task in ("captioning", "captioning-multi") and config.prompt:
        raise UserError(f"prompt={config.prompt}: task={config.task} takes no prompt; leave it out, or use task=vqa")
    output = Path(config.output)
    for given in (config.images, config.embeddings, config.memory_file):
        if given and output.exists() and Path(given).exists() and output.samefile(given):
            raise UserError(f"output={output}: is what is to be read, and would be lost; give another output=")


def predict_files(config: PredictConfig) -> PredictionSummary:
    """Writes one JSON line a picture or vector: id, prediction, candidates, scores.

    What cannot be read goes with its reason into `<output>.unreadable.jsonl`.

    Raises:
        UserError: for whatever the user can mend; also if nothing could be read.
    """
    run, checkpoint, trained = _asked_model(config)
    device = pick_device(config.device)
    model, tokenizer = load_model(run, checkpoint, device, config.base)
    task, clip = TaskConfig.model_validate(model.config.task), trained.clip if trained else encoder_settings(model)
    if task.name != config.task:
        raise UserError(
            f"task={config.task}: the model at {run} was trained for task={task.name}; give that task, or another run"
        )
    labels, prompt = task_of(task).labels, config.prompt or task.prompt
    _check(config, labels, getattr(trained.data, "prompt", None) if trained else None)
    decoder = Decoder(model, tokenizer, asked_decoding(config, model), config.batch_size, config.modality)
    inputs = _inputs(config, model, clip, device)
    model.memory, memory = build_memory(config, trained, model, device)
    reranker = Reranker(config, clip, labels, device) if config.rerank else None
    key = {"checkpoint": RunFolder(run).fingerprint(checkpoint), "prompt": prompt}
    key |= {"reranker": reranker.facts["fingerprint"]} if reranker else {}

    def answers_of(start: int, end: int, names: list[str], vectors: NDArray[np.float32]) -> list[Prediction]:
        found = decoder.answer(names, vectors, [prompt] * len(names), labels)
        if reranker is None:
            return found
        return reranker(found, vectors if reranker.is_own else inputs.seen_by(reranker.encoder, start, end, names))

    with Journal(Path(config.output), key | inputs.key | decoder.key | memory) as journal:
        _answer(inputs, answers_of, config, journal)
        summary = _write(inputs, Path(config.output), journal)
        journal.remove()
    return summary


def _asked_model(config: PredictConfig) -> tuple[Path, str, TrainConfig | None]:
    """Folder and checkpoint of what is asked, and the run's settings; a saved model is its own checkpoint and has none."""
    if config.run != "latest" and is_saved_model(Path(config.run)):
        if config.checkpoint != "best":
            raise UserError(
                f"checkpoint={config.checkpoint}: run={config.run} is one saved model; leave checkpoint out, or give the run's "
                "folder"
            )
        return Path(config.run).resolve(), ".", None
    run = find_run(config.run, config.runs, config.task)
    return run, config.checkpoint, read_run(run)[0]


def _inputs(config: PredictConfig, model: TransferNetwork, clip: Any, device: str) -> _Inputs:
    if config.embeddings is not None:
        return _Vectors(Path(config.embeddings), model)
    assert config.images is not None
    if isinstance(clip, PrecomputedConfig):
        raise UserError(
            "the run was trained on precomputed vectors, so pictures cannot be encoded here; give embeddings=FILE"
        )
    return _Pictures(Path(config.images), model, clip, device)


def _answer(
    inputs: _Inputs, answers_of: Callable[..., list[Prediction]], config: PredictConfig, journal: Journal
) -> None:
    """Answers the batches that are not in the journal yet.

    Args:
        inputs: what is asked about.
        answers_of: gives the answers of a batch by its start, its end, and the ids and vectors that could be read.
        config: batch size, and what inputs are called.
        journal: gets the answers.
    """
    size = config.batch_size
    done = min(inputs.num, journal.num_batches * size)
    with tqdm(total=inputs.num, initial=done, unit="picture" if config.images else "vector", desc="predicting") as bar:
        for start in range(done, inputs.num, size):
            end = min(start + size, inputs.num)
            names, vectors, unreadable = inputs.batch(start, end)
            answers = answers_of(start, end, names, vectors) if names else []
            journal.append({"predictions": [asdict(one) for one in answers], "unreadable": unreadable})
            bar.update(end - start)


def _write(inputs: _Inputs, output: Path, journal: Journal) -> PredictionSummary:
    """The output from the whole journal, a batch at a time. What could not be read is written first.

    Other answers that stand there are set aside.
    """
    unreadable_output = output.with_name(output.name + ".unreadable.jsonl")
    first: list[str] = []
    num_predictions = 0
    unreadable = [*inputs.faults]
    with atomic_path(output) as temporary:
        with temporary.open("w", encoding="utf-8") as file:
            for batch in journal.batches():
                unreadable += batch["unreadable"]
                num_predictions += len(batch["predictions"])
                for prediction in map(prediction_from, batch["predictions"]):
                    file.write(json.dumps(prediction.as_dict(), ensure_ascii=False) + "\n")
                    if len(first) < _NUM_SHOWN:
                        first.append(f"{prediction.id}: {prediction.text}")
        if num_predictions:
            _keep_earlier(output, temporary, unreadable_output)
        if unreadable:
            write_text(unreadable_output, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in unreadable))
        else:
            unreadable_output.unlink(missing_ok=True)
        if not num_predictions:
            journal.remove()
            reason = "{id}: {reason}".format(**unreadable[0]) if unreadable else "there are no rows"
            raise UserError(f"none of {inputs.num:,} inputs could be read ({reason}); give other files")
    return PredictionSummary(
        output,
        num_predictions,
        tuple(first),
        unreadable_output,
        len(unreadable),
        tuple(unreadable[:_NUM_UNREADABLE_SHOWN]),
        inputs.num_other,
    )


def _keep_earlier(output: Path, written: Path, unreadable_output: Path) -> None:
    """Sets an output aside, with the list of what could not be read, unless it is what was just `written`."""
    if not output.is_file() or filecmp.cmp(output, written, shallow=False):
        return
    sync(written)
    aside = set_aside([unreadable_output, output], output.with_name(f"{output.name}.old"))
    print(f"note: {output} held other answers, which are set aside in {aside}", file=sys.stderr)
