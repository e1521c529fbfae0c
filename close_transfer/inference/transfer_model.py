"""Python interface of trained models: captions, answers and judgements for images, texts or vectors.

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

from close_transfer.config.choices import InputModality
from close_transfer.config.components import TaskConfig
from close_transfer.core.arrays import Float32Array, FloatArray
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
    is_single_image,
    open_given_image,
)
from close_transfer.models.device import pick_device
from close_transfer.models.network import TransferNetwork
from close_transfer.reports.model_card import build_model_card, write_about
from close_transfer.tasks import build_task


class TransferModel:
    """A trained model with its tokenizer; the encoder is loaded when it is first needed.

    Load one with `from_pretrained`. Then call the method of its task:

    - `caption(images)` writes a caption (task=captioning and other tasks that write captions);
    - `answer(images, question)` answers a question (task=vqa);
    - `judge(images, hypothesis)` chooses a label (task=snli-ve);
    - `from_embedding(embedding)` writes the text of one vector;
    - `write(...)` does all of this for many inputs at once, for any task, and returns candidates and scores.

    Attributes:
        network: trained network: adapters, mapper and language model.
        tokenizer: tokenizer of the language model.
        task: name of the task it was trained for.
        labels: labels that `judge` chooses from; empty for tasks without labels.
        about: facts of the model card about settings, data and results (`model_card.collect_run_facts`); may be empty.
    """

    def __init__(
        self,
        network: TransferNetwork,
        tokenizer: transformers.PreTrainedTokenizerBase,
        encoder: Encoder | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        """Wrap parts that are already loaded; `from_pretrained` loads them.

        Args:
            network: trained network, which is switched to evaluation mode.
            tokenizer: tokenizer of its language model.
            encoder: encoder that the network was trained with; None loads it when it is first needed.
            about: facts for the model card; None leaves the card without them.

        Raises:
            UserError: if the encoder is not the one that the network was trained with.
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
        """Load a model from a run's folder, a folder that `save_pretrained` wrote, or the Hugging Face hub.

        Args:
            name: path of the folder, or name on the hub, such as "someone/captions-from-text".
            device: "auto" (a GPU if there is one, else the CPU), "cpu", "cuda", or one of several GPUs, such as "cuda:1".
            checkpoint: checkpoint of a run: "best" (lowest validation loss) or "last"; None loads the best one.
            base_model: folder of the base language model of a LoRA or frozen model, if it moved since training. The
                fingerprint of its weights is checked.

        Returns:
            The model in evaluation mode, on the device.

        Raises:
            UserError: if there is no such model or it is damaged, the device is not there, a checkpoint is given for a
                model that is not a run, or a base_model for a model that does not need one.
        """
        transformers.utils.logging.disable_progress_bar()
        device = pick_device(device)
        folder, about = find_model(name, checkpoint)
        network = TransferNetwork.from_pretrained(folder, base_model=None if base_model is None else str(base_model))
        network.to(torch.device(device))  # type: ignore[arg-type]
        return cls(network, transformers.AutoTokenizer.from_pretrained(folder), about=about)

    @property
    def encoder(self) -> Encoder:
        """Return the frozen encoder, loaded on first use.

        Raises:
            UserError: if it cannot be loaded or has different weights than in training, or the model was trained on
                vectors from files.
        """
        if self._encoder is None:
            config = load_encoder_settings(self.network)
            if not config.encodes_images:
                raise UserError(
                    f"the model was trained on vectors from files ({self.network.config.encoder['name']}), so it cannot "
                    "encode images or texts. Encode them yourself, then call write(embeddings=...)"
                )
            encoder = load_encoder(config, str(self.network.device))
            check_encoder(encoder, self.network)
            self._encoder = encoder
        return self._encoder

    def caption(self, images: ImageInput | Sequence[ImageInput], **decoding: Any) -> Any:
        """Caption an image, or several.

        Args:
            images: a path, a `PIL.Image` or a uint8 array of shape (height, width, 3); or a sequence of these.
            decoding: keyword arguments of `write` for the decoding: num_beams, top_p, temperature, seed, batch_size.

        Returns:
            A string for one image; a list of strings, in order, for a sequence.

        Raises:
            UserError: if the model was trained for another task, an image cannot be read, or an argument is out of its
                range.
        """
        self._check_method("caption", "captions")
        return self._write_texts(images, None, decoding)

    def answer(self, images: ImageInput | Sequence[ImageInput], question: str, **decoding: Any) -> Any:
        """Answer a question about an image, or about each of several.

        Args:
            images: a path, a `PIL.Image` or a uint8 array of shape (height, width, 3); or a sequence of these.
            question: text of the question, such as "How many dogs are there?".
            decoding: keyword arguments of `write` for the decoding, as for `caption`.

        Returns:
            A string for one image; a list of strings, in order, for a sequence.

        Raises:
            UserError: as for `caption`; also if the question is empty.
        """
        self._check_method("answer", "answers")
        _check_text("question", question)
        return self._write_texts(images, question, decoding)

    def judge(self, images: ImageInput | Sequence[ImageInput], hypothesis: str, **decoding: Any) -> Any:
        """Choose the relation of a sentence to an image, or to each of several: entailment, neutral or contradiction.

        Args:
            images: a path, a `PIL.Image` or a uint8 array of shape (height, width, 3); or a sequence of these.
            hypothesis: sentence to check against the image, such as "A dog sleeps.".
            decoding: keyword arguments of `write` for the decoding, as for `caption`.

        Returns:
            One of `labels` for one image, such as "entailment"; a list of them, in order, for a sequence.

        Raises:
            UserError: as for `caption`; also if the hypothesis is empty.
        """
        self._check_method("judge", "judgements")
        _check_text("hypothesis", hypothesis)
        return self._write_texts(images, hypothesis, decoding)

    def write(
        self,
        images: Sequence[ImageInput] = (),
        texts: Sequence[str] = (),
        embeddings: FloatArray | None = None,
        prompt: str | None = None,
        input_modality: InputModality | None = None,
        num_beams: int | None = None,
        num_return: int = 1,
        top_p: float | None = None,
        temperature: float = 1.0,
        seed: int = 0,
        batch_size: int = 64,
    ) -> list[Prediction]:
        """Write text for many images, texts or vectors; give exactly one of the three.

        Args:
            images: paths, `PIL.Image`s or uint8 arrays of shape (height, width, 3).
            texts: texts, encoded by the encoder's text tower as in training.
            embeddings: raw vectors of the encoder, which need not have unit length; shape (rows, dim), or (rows, cells,
                dim) for an encoder with grid features.
            prompt: question or hypothesis for all inputs; None uses the task's own prompt, if it has one.
            input_modality: modality that `embeddings` come from, "image" or "text"; None means "image". Adapters such as
                remove_mean treat the two differently.
            num_beams: number of beams of the beam search, 1 for greedy decoding; None uses the task's number.
            num_return: candidates per input; at most `num_beams` in beam search.
            top_p: share of the probability to sample from, above 0 and at most 1 (nucleus sampling); None uses beam
                search.
            temperature: temperature of sampling, above 0; only applies with `top_p`.
            seed: seed of sampling, 0 or more.
            batch_size: inputs per decoding batch.

        Returns:
            One `Prediction` per input, in order. Its `text` is the label for tasks with labels, else the first
            candidate. `candidates` and their `scores` (log-probability per token) are sorted, likeliest first. `label`
            and `label_scores` (log-likelihoods, in the order of `labels`) are empty for tasks without labels. `id` is
            the position of the input, as text.

        Raises:
            UserError: if an image cannot be read, a vector has another shape, is zero or not finite, or an argument is
                out of its range.
        """
        task = self.network.config.task
        decoding = check_decoding(num_beams, num_return, top_p, temperature, seed, task["num_beams"])
        batch_size, prompt = check_whole_number("batch_size", batch_size), check_prompt(prompt, task)
        images, texts = as_list(images, "images"), as_list(texts, "texts")
        inputs = {"images": len(images) > 0, "texts": len(texts) > 0, "embeddings": embeddings is not None}
        if sum(inputs.values()) != 1:
            given = " and ".join(name for name, is_given in inputs.items() if is_given) or "none of its inputs"
            raise UserError(
                f"write() got {given}. Give exactly one of images, texts and embeddings, with at least one item"
            )
        input_modality = check_input_modality(input_modality, texts, images)
        vectors = self._encode_inputs(images, texts, embeddings)
        decoder = Decoder(self.network, self.tokenizer, decoding, batch_size, input_modality)
        predictions: list[Prediction] = []
        for start in range(0, len(vectors), batch_size):
            block = vectors[start : start + batch_size]
            ids = [str(start + row) for row in range(len(block))]
            predictions += decoder.predict_batch(ids, block, [prompt] * len(block), self.labels)
        return predictions

    def from_embedding(
        self,
        embedding: FloatArray,
        prompt: str | None = None,
        input_modality: InputModality = "image",
        **decoding: Any,
    ) -> str:
        """Write the text of one vector of the encoder.

        Args:
            embedding: raw vector, shape (dim,), or grid, shape (cells, dim); need not have unit length.
            prompt: question or hypothesis; None uses the task's own prompt, if it has one.
            input_modality: modality that the vector comes from, "image" or "text".
            decoding: keyword arguments of `write` for the decoding, as for `caption`.

        Returns:
            The likeliest text, or the label for tasks with labels.

        Raises:
            UserError: if the vector has another shape, is zero or not finite, or an argument is out of its range.
        """
        _check_single_candidate(decoding)
        (prediction,) = self.write(
            embeddings=np.asarray(embedding)[None], prompt=prompt, input_modality=input_modality, **decoding
        )
        return prediction.text

    def save_pretrained(self, folder: str | Path, name: str | None = None, licence: str | None = None) -> None:
        """Save weights, configuration, tokenizer and a model card to a folder that `from_pretrained` loads.

        The card and about.json hold names of files without their paths. config.json keeps the paths that loading on this
        machine needs: the folder of a LoRA or frozen model's language model, and the encoder's weights. `push_to_hub`
        leaves them out.

        Args:
            folder: path of the folder, which is created if needed; existing files are overwritten.
            name: name of the model on the card; None uses the folder's name.
            licence: identifier of a licence on the hub, such as "apache-2.0", or the name of another licence; None if
                no licence has been chosen.

        Raises:
            WriteError: if the folder cannot be written.
        """
        folder = Path(folder)
        with report_write_errors(folder):
            self.network.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        write_about(folder, self.about)
        card = build_model_card(self.network.config, self.about, name or folder.name, licence)
        write_text(folder / "README.md", str(card))

    def push_to_hub(self, name: str, private: bool = True, licence: str | None = None) -> str:
        """Upload the model and its card to the Hugging Face hub, and return its address.

        Log in first with `hf auth login`, or set HF_TOKEN. No path of this machine is uploaded. If the language model of
        a LoRA or frozen model is a local folder, only the folder's name is, and the card asks users to give that folder
        as `base_model`.

        Args:
            name: name of the repository, such as "someone/captions-from-text", which is created if it does not exist.
            private: True makes a new repository visible to its owners only; an existing one stays as it is.
            licence: see `save_pretrained`.

        Returns:
            The web address of the repository.

        Raises:
            UserError: if the hub refuses the upload or cannot be reached.
            WriteError: if the temporary files for the upload cannot be written.
        """
        return publish(name, private, lambda folder, full_name: self.save_pretrained(folder, full_name, licence))

    def _write_texts(
        self, images: ImageInput | Sequence[ImageInput], prompt: str | None, decoding: dict[str, Any]
    ) -> Any:
        _check_single_candidate(decoding)
        is_single = is_single_image(images)
        image_list: Any = [images] if is_single else images
        texts = [prediction.text for prediction in self.write(image_list, prompt=prompt, **decoding)]
        return texts[0] if is_single else texts

    def _check_method(self, method: str, output: str) -> None:
        if self._method != method:
            raise UserError(
                f"this model was trained for task={self.task} and does not write {output}. Load a model of another task, or "
                "write(prompt=...)"
            )

    def _encode_inputs(
        self, images: Sequence[ImageInput], texts: Sequence[str], embeddings: FloatArray | None
    ) -> Float32Array:
        if embeddings is not None:
            return check_embeddings(embeddings, self.network.config.encoder)
        if texts:
            return self.encoder.encode_texts(texts)
        return self.encoder.encode_images(map(open_given_image, images))


def _check_text(name: str, text: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{name}={text!r} is empty or not a text. Give {name} as a string")


def _check_single_candidate(decoding: Mapping[str, Any]) -> None:
    if decoding.get("num_return", 1) != 1:
        raise UserError(
            f"num_return={decoding['num_return']}: this method returns a single text. Use write(..., num_return=...), "
            "which returns all candidates"
        )
