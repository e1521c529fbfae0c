"""A trained model as a library: images, texts or vectors in, captions, answers and judgements out.

from close_transfer import TransferModel

model = TransferModel.from_pretrained("runs/captioning/latest")
print(model.caption("photo.jpg"))
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from close_transfer.config.choices import InputModality
from close_transfer.config.components import TaskConfig
from close_transfer.core.arrays import Float32Array
from close_transfer.core.atomic_files import report_write_errors, write_text
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Prediction
from close_transfer.encoders import Encoder, load_encoder
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.hub import find_model, publish
from close_transfer.inference.loading import check_encoder, load_encoder_settings
from close_transfer.inference.model_inputs import (
    ImageInput,
    as_list,
    check_decoding,
    check_embeddings,
    check_input_modality,
    check_prompt,
    check_whole_number,
    is_one_image,
    open_given_image,
)
from close_transfer.models.device import pick_device
from close_transfer.models.network import TransferNetwork
from close_transfer.reports.model_card import build_model_card, write_about
from close_transfer.tasks import build_task


class TransferModel:
    """A trained network with its tokenizer, and its encoder once that is needed.

    Attributes:
        network: what was trained.
        tokenizer: of the language model.
        task: what it was trained for.
        labels: what `judge` chooses from; empty for other tasks.
        about: what its card tells of settings, data and results (`model_card.about_run`); may be empty.
    """

    def __init__(
        self,
        network: TransferNetwork,
        tokenizer: transformers.PreTrainedTokenizerBase,
        encoder: Encoder | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        """Puts parts together that are there already; `from_pretrained` loads them.

        Raises:
            UserError: if the encoder is not the one of the training.
        """
        if encoder is not None:
            check_encoder(encoder, network)
        self.network = network.eval()
        self.tokenizer = tokenizer
        self.task: str = network.config.task["name"]
        task = build_task(TaskConfig.model_validate(network.config.task))
        self.labels, self._method = task.labels, task.method
        self.about = about or {}
        self._encoder = encoder

    @classmethod
    def from_pretrained(
        cls, name: str | Path, device: str = "auto", checkpoint: str | None = None, base_model: str | Path | None = None
    ) -> Self:
        """Loads a run's folder, what `save_pretrained` wrote, or a model of the hub.

        Args:
            name: a folder, or a name on the hub such as "someone/captions-from-text".
            device: "auto", "cpu", "cuda" or "cuda:1".
            checkpoint: of a run's folder: "best" on validation, which None is too, or "last".
            base_model: the folder of the language model of a LoRA or frozen model, where it is no longer where training found
                it; its fingerprint is checked.

        Raises:
            UserError: if there is no such model, or it is damaged; if a checkpoint is asked for of what is no run, or a
                base_model is given to a model that needs none.
        """
        transformers.utils.logging.disable_progress_bar()
        device = pick_device(device)
        folder, about = find_model(name, checkpoint)
        network = TransferNetwork.from_pretrained(folder, base_model=None if base_model is None else str(base_model))
        network.to(torch.device(device))  # type: ignore[arg-type]
        return cls(network, transformers.AutoTokenizer.from_pretrained(folder), about=about)

    @property
    def encoder(self) -> Encoder:
        """The frozen encoder, which is loaded when it is first asked for.

        Raises:
            UserError: if it cannot be loaded here, or the model was trained on vectors from files.
        """
        if self._encoder is None:
            config = load_encoder_settings(self.network)
            if not config.encodes_images:
                raise UserError(
                    f"the model was trained on vectors from files ({self.network.config.encoder['name']}), so nothing can be encoded here; give "
                    "embeddings="
                )
            encoder = load_encoder(config, self.network.device.type)
            check_encoder(encoder, self.network)
            self._encoder = encoder
        return self._encoder

    def caption(self, images: ImageInput | Sequence[ImageInput], **decoding: Any) -> Any:
        """A caption of an image, or a list of one each.

        Args:
            images: a path, a `PIL.Image` or an array of uint8 (height, width, 3), or several.
            decoding: as of `write`, but for num_return: of several candidates `write` gives all.

        Raises:
            UserError: as `write`; if the model is of another task.
        """
        self._check_method("caption", "captions")
        return self._write_texts(images, None, decoding)

    def answer(self, images: ImageInput | Sequence[ImageInput], question: str, **decoding: Any) -> Any:
        """The answer to a question about an image, or a list of one each; arguments as of `caption`."""
        self._check_method("answer", "answers")
        _check_question("question", question)
        return self._write_texts(images, question, decoding)

    def judge(self, images: ImageInput | Sequence[ImageInput], hypothesis: str, **decoding: Any) -> Any:
        """Which of `labels` holds between an image and a sentence, or a list of one each; arguments as of `caption`."""
        self._check_method("judge", "judgements")
        _check_question("hypothesis", hypothesis)
        return self._write_texts(images, hypothesis, decoding)

    def write(
        self,
        images: Sequence[ImageInput] = (),
        texts: Sequence[str] = (),
        embeddings: NDArray[np.floating] | None = None,
        prompt: str | None = None,
        input_modality: InputModality | None = None,
        num_beams: int | None = None,
        num_return: int = 1,
        top_p: float | None = None,
        temperature: float = 1.0,
        seed: int = 0,
        batch_size: int = 64,
    ) -> list[Prediction]:
        """What the model writes for images, texts or vectors; one of the three is given.

        Args:
            images: paths, `PIL.Image`s or arrays of uint8 (height, width, 3).
            texts: encoded by the text tower, as in training.
            embeddings: raw vectors of the encoder, of any length; shape (rows, dim), or (rows, cells, dim) of grids.
            prompt: question or hypothesis, where the task has one; None: what the task puts there by itself.
            input_modality: what embeddings were made from, "image" (None is that too) or "text": adapters such as remove_mean
                treat the two differently.
            num_beams: of beam search, 1 is greedy; None: the task's own.
            num_return: candidates of each, likeliest first; of beam search at most `num_beams`.
            top_p, temperature, seed: of nucleus sampling instead of beam search, where `top_p` is given.
            batch_size: of decoding.

        Returns:
            One `Prediction` each, in order. Of it, `text` is what to show: the label where the task has some, else the
            first candidate; `candidates` and their `scores` (log-probability a token) are best first; `label` and
            `label_scores` (log-likelihoods, in the order of `labels`) are of tasks with labels; `id` is the position.

        Raises:
            UserError: if an image cannot be read, the vectors are of another shape, zero or not finite, or a setting is
                out of its range.
        """
        task = self.network.config.task
        decoding = check_decoding(num_beams, num_return, top_p, temperature, seed, task["num_beams"])
        batch_size, prompt = check_whole_number("batch_size", batch_size), check_prompt(prompt, task)
        images, texts = as_list(images, "images"), as_list(texts, "texts")
        if sum((len(images) > 0, len(texts) > 0, embeddings is not None)) != 1:
            raise UserError("give exactly one of images, texts and embeddings, and at least one of it")
        input_modality = check_input_modality(input_modality, texts, images)
        vectors = self._encode_inputs(images, texts, embeddings)
        decoder = Decoder(self.network, self.tokenizer, decoding, batch_size, input_modality)
        predictions: list[Prediction] = []
        for start in range(0, len(vectors), batch_size):
            block = vectors[start : start + batch_size]
            ids = [str(start + row) for row in range(len(block))]
            predictions += decoder.answer(ids, block, [prompt] * len(block), self.labels)
        return predictions

    def from_embedding(
        self,
        embedding: NDArray[np.floating],
        prompt: str | None = None,
        input_modality: InputModality = "image",
        **decoding: Any,
    ) -> str:
        """The text of one raw vector of the encoder, shape (dim,), or one grid, shape (cells, dim).

        Args:
            embedding: of an image, or of a text where `input_modality` says so.
            prompt, input_modality: as of `write`.
            decoding: as of `caption`.

        Raises:
            UserError: as `write`.
        """
        _check_one_candidate(decoding)
        (prediction,) = self.write(
            embeddings=np.asarray(embedding)[None], prompt=prompt, input_modality=input_modality, **decoding
        )
        return prediction.text

    def save_pretrained(self, folder: str | Path, name: str | None = None, licence: str | None = None) -> None:
        """Writes weights, configuration and tokenizer, to be loaded by `from_pretrained`, and a model card.

        Card and about.json hold names of files, no paths. config.json keeps the paths that loading needs here: of the
        folder of a LoRA or frozen model's language model, and of an encoder's weights; `push_to_hub` leaves them out.

        Args:
            folder: is made, or written over.
            name: what the card calls the model; None: the folder's name.
            licence: an identifier of the hub's list, such as "apache-2.0", or the name of another licence; None where
                nobody chose one.

        Raises:
            WriteError: if it cannot be written.
        """
        folder = Path(folder)
        with report_write_errors(folder):
            self.network.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        write_about(folder, self.about)
        card = build_model_card(self.network.config, self.about, name or folder.name, licence)
        write_text(folder / "README.md", str(card))

    def push_to_hub(self, name: str, private: bool = True, licence: str | None = None) -> str:
        """Puts the model and its card on the hub, as whom `hf auth login` or HF_TOKEN says; gives its address.

        No path of this machine goes along. Where the language model of a LoRA or frozen model is a local folder, its name
        does: the card says that whoever loads the model gives that folder as `base_model`.

        Args:
            name: such as "someone/captions-from-text"; is made if it is not there.
            private: whether only its owners see it, where it is made.
            licence: as of `save_pretrained`.

        Raises:
            UserError: if the hub refuses or cannot be reached.
        """
        return publish(name, private, lambda folder, full_name: self.save_pretrained(folder, full_name, licence))

    def _write_texts(
        self, images: ImageInput | Sequence[ImageInput], prompt: str | None, decoding: dict[str, Any]
    ) -> Any:
        _check_one_candidate(decoding)
        is_single = is_one_image(images)
        image_list: Any = [images] if is_single else images
        texts = [prediction.text for prediction in self.write(image_list, prompt=prompt, **decoding)]
        return texts[0] if is_single else texts

    def _check_method(self, method: str, what: str) -> None:
        if self._method != method:
            raise UserError(f"this model was trained for task={self.task} and gives no {what}; use write(prompt=...)")

    def _encode_inputs(
        self, images: Sequence[ImageInput], texts: Sequence[str], embeddings: NDArray[np.floating] | None
    ) -> Float32Array:
        if embeddings is not None:
            return check_embeddings(embeddings, self.network.config.encoder)
        if texts:
            return self.encoder.encode_texts(texts)
        return self.encoder.encode_images(map(open_given_image, images))


def _check_question(what: str, text: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{what}={text!r}: should be a text")


def _check_one_candidate(decoding: Mapping[str, Any]) -> None:
    if decoding.get("num_return", 1) != 1:
        raise UserError(
            f"num_return={decoding['num_return']}: a single text is given back here; use write(..., num_return=...), whose "
            "results have all candidates"
        )
