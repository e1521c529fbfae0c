"""Python interface of trained models: captions, answers and judgements for images, texts or vectors.

from close_transfer import TransferModel

model = TransferModel.from_pretrained("runs/captioning/latest")
print(model.caption("photo.jpg"))
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from close_transfer.config.choices import DecodingPrecision, InputModality
from close_transfer.core.arrays import Float32Array, FloatArray
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Prediction
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.model_inputs import (
    ImageInput,
    as_list,
    check_decoding,
    check_embeddings,
    check_input_modality,
    check_precision,
    check_prompt,
    check_single_candidate,
    check_text,
    check_whole_number,
    is_single_image,
    open_given_image,
)
from close_transfer.inference.saved_model import SavedModel


class TransferModel(SavedModel):
    """A trained model with its tokenizer; the encoder is loaded when it is first needed.

    Load one with `from_pretrained`. Then call the method of its task:

    - `caption(images)` writes a caption (task=captioning and other tasks that write captions);
    - `answer(images, question)` answers a question (task=vqa);
    - `judge(images, hypothesis)` chooses a label (task=snli-ve);
    - `from_embedding(embedding)` writes the text of one vector;
    - `write(...)` does all of this for many inputs at once, for any task, and returns candidates and scores.

    `SavedModel` has its attributes and the methods that load and save it.
    """

    def caption(self, images: ImageInput | Sequence[ImageInput], **decoding: Any) -> Any:
        """Caption an image, or several.

        Args:
            images: a path, a `PIL.Image` or a uint8 array of shape (height, width, 3); or a sequence of these.
            decoding: keyword arguments of `write` for the decoding: num_beams, top_p, temperature, seed, batch_size, precision.

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
        check_text("question", question)
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
        check_text("hypothesis", hypothesis)
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
        precision: DecodingPrecision = "fp32",
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
            precision: precision of matrix products: "fp32", "bf16", which changes a few texts, or "auto": bf16 on a GPU
                that has it.

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
        resolved = check_precision(precision, self.network.device.type)
        decoding = check_decoding(num_beams, num_return, top_p, temperature, seed, task["num_beams"], resolved)
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
        check_single_candidate(decoding)
        (prediction,) = self.write(
            embeddings=np.asarray(embedding)[None], prompt=prompt, input_modality=input_modality, **decoding
        )
        return prediction.text

    def _write_texts(
        self, images: ImageInput | Sequence[ImageInput], prompt: str | None, decoding: dict[str, Any]
    ) -> Any:
        check_single_candidate(decoding)
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
        # In threads only: a worker process would run the script that calls this once more.
        (group,) = self.encoder.encode_image_groups([[partial(open_given_image, image) for image in images]])
        return group.vectors
