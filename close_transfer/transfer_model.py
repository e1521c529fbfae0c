"""A trained model as a library: pictures, texts or vectors in, captions, answers and judgements out.

from close_transfer import TransferModel

model = TransferModel.from_pretrained("runs/captioning/latest")
print(model.caption("photo.jpg"))
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import transformers
from huggingface_hub import HfApi, snapshot_download
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from close_transfer.adapters import Modality
from close_transfer.checkpoints import RunFolder
from close_transfer.config import ClipConfig, PrecomputedConfig, TaskConfig
from close_transfer.decoding import Decoder, Decoding
from close_transfer.encoders import Encoder, load_encoder
from close_transfer.errors import UserError
from close_transfer.examples import Prediction
from close_transfer.files import WriteError, read_json, write_json, write_text, writing
from close_transfer.model import TransferNetwork
from close_transfer.model_card import about_run, model_card, read_about, write_about
from close_transfer.parts import check_encoder, pick_device
from close_transfer.pictures import as_rgb, open_picture
from close_transfer.portable import portable_config
from close_transfer.tasks import task_of

Picture = str | Path | Image.Image
Floats = NDArray[np.float32]

_CONFIG = "config.json"


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
        self.labels = task_of(TaskConfig.model_validate(network.config.task)).labels
        self.about = about or {}
        self._encoder = encoder

    @classmethod
    def from_pretrained(
        cls, name: str | Path, device: str = "auto", checkpoint: str | None = None, base: str | Path | None = None
    ) -> Self:
        """Loads a run's folder, what `save_pretrained` wrote, or a model of the hub.

        Args:
            name: a folder, or a name on the hub such as "someone/captions-from-text".
            device: "auto", "cpu", "cuda" or "cuda:1".
            checkpoint: of a run's folder: "best" on validation, which None is too, or "last".
            base: the folder of the language model of a LoRA or frozen model, where it is no longer where training found
                it; its fingerprint is checked.

        Raises:
            UserError: if there is no such model, or it is damaged; if a checkpoint is asked for of what is no run, or a
                base is given to a model that needs none.
        """
        transformers.utils.logging.disable_progress_bar()
        device = pick_device(device)
        folder, about = _folder(name, checkpoint)
        network = TransferNetwork.from_pretrained(folder, base=None if base is None else str(base))
        network.to(torch.device(device))  # type: ignore[arg-type]
        return cls(network, transformers.AutoTokenizer.from_pretrained(folder), about=about)

    @property
    def encoder(self) -> Encoder:
        """The frozen encoder, which is loaded when it is first asked for.

        Raises:
            UserError: if it cannot be loaded here, or the model was trained on vectors from files.
        """
        if self._encoder is None:
            trained = self.network.config.encoder
            try:
                config = TypeAdapter(ClipConfig).validate_python(trained["config"])
            except (KeyError, ValidationError):
                raise UserError(f"another version trained this model on {trained['name']}; train it again") from None
            if isinstance(config, PrecomputedConfig):
                raise UserError(
                    f"the model was trained on vectors from files ({trained['name']}), so nothing can be encoded here; give "
                    "embeddings="
                )
            encoder = load_encoder(config, self.network.device.type)
            check_encoder(encoder, self.network)
            self._encoder = encoder
        return self._encoder

    def caption(self, pictures: Picture | Sequence[Picture], **decoding: Any) -> Any:
        """A caption of a picture, or a list of one each.

        Args:
            pictures: a path or a `PIL.Image`, or several.
            decoding: as of `write`.
        """
        self._is_for(("captioning", "captioning-multi"), "captions")
        return self._texts(pictures, None, decoding)

    def answer(self, pictures: Picture | Sequence[Picture], question: str, **decoding: Any) -> Any:
        """The answer to a question about a picture, or a list of one each; arguments as of `caption`."""
        self._is_for(("vqa", "vqa-e"), "answers")
        return self._texts(pictures, question, decoding)

    def judge(self, pictures: Picture | Sequence[Picture], hypothesis: str, **decoding: Any) -> Any:
        """Which of `labels` holds between a picture and a sentence, or a list of one each; arguments as of `caption`."""
        self._is_for(("snli-ve",), "judges")
        return self._texts(pictures, hypothesis, decoding)

    def write(
        self,
        pictures: Sequence[Picture] = (),
        texts: Sequence[str] = (),
        embeddings: NDArray[np.floating] | None = None,
        prompt: str | None = None,
        num_beams: int | None = None,
        num_return: int = 1,
        top_p: float | None = None,
        temperature: float = 1.0,
        seed: int = 0,
        batch_size: int = 64,
    ) -> list[Prediction]:
        """What the model writes for pictures, texts or vectors; one of the three is given.

        Args:
            pictures: paths or `PIL.Image`s.
            texts: encoded by the text tower, as in training.
            embeddings: raw vectors of the encoder, of any length; shape (rows, dim).
            prompt: question or hypothesis, where the task has one; None: what the task puts there by itself.
            num_beams: of beam search, 1 is greedy; None: the task's own.
            num_return: candidates of each, likeliest first; of beam search at most `num_beams`.
            top_p, temperature, seed: of nucleus sampling instead of beam search, where `top_p` is given.
            batch_size: of decoding.

        Raises:
            UserError: if a picture cannot be read, or the vectors are of another width.
        """
        modality: Modality = "text" if len(texts) else "image"
        vectors = self._vectors(pictures, texts, embeddings)
        num_beams = num_beams or (1 if top_p is not None else self.network.config.task["num_beams"])
        how = Decoding(num_beams, num_return, top_p, temperature, seed)
        prompt = self.network.config.task.get("prompt", "") if prompt is None else prompt
        decoder = Decoder(self.network, self.tokenizer, how, batch_size, modality)
        found: list[Prediction] = []
        for start in range(0, len(vectors), batch_size):
            block = vectors[start : start + batch_size]
            ids = [str(start + row) for row in range(len(block))]
            found += decoder.answer(ids, block, [prompt] * len(block), self.labels)
        return found

    def from_embedding(self, embedding: NDArray[np.floating], prompt: str | None = None, **decoding: Any) -> str:
        """The text of one raw vector of the encoder, shape (dim,)."""
        (found,) = self.write(embeddings=np.asarray(embedding)[None], prompt=prompt, **decoding)
        return found.text

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
        with writing(folder):
            self.network.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        write_about(folder, self.about)
        card = model_card(self.network.config, self.about, name or folder.name, licence)
        write_text(folder / "README.md", str(card))

    def push_to_hub(self, name: str, private: bool = True, licence: str | None = None) -> str:
        """Puts the model and its card on the hub, as whom `hf auth login` or HF_TOKEN says; gives its address.

        No path of this machine goes along. Where the language model of a LoRA or frozen model is a local folder, its name
        does: the card says that whoever loads the model gives that folder as `base`.

        Args:
            name: such as "someone/captions-from-text"; is made if it is not there.
            private: whether only its owners see it, where it is made.
            licence: as of `save_pretrained`.

        Raises:
            UserError: if the hub refuses or cannot be reached.
        """
        try:
            with tempfile.TemporaryDirectory() as folder:
                hub = HfApi()
                whole = hub.create_repo(name, private=private, exist_ok=True).repo_id  # with its owner
                self.save_pretrained(folder, whole, licence)
                config = Path(folder, _CONFIG)
                write_json(config, portable_config(read_json(config)))
                hub.upload_folder(repo_id=whole, folder_path=folder, commit_message="Model of close-transfer")
                return f"{hub.endpoint}/{whole}"
        except WriteError:
            raise
        except Exception as error:  # the hub's client has another HTTP library, and its errors, from version to version
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(
                f"push_to_hub={name}: the hub did not take it ({reason}); log in by `hf auth login`"
            ) from error

    def _texts(self, pictures: Picture | Sequence[Picture], prompt: str | None, decoding: dict[str, Any]) -> Any:
        one = isinstance(pictures, (str, Path, Image.Image))
        several = [pictures] if isinstance(pictures, (str, Path, Image.Image)) else list(pictures)
        texts = [found.text for found in self.write(several, prompt=prompt, **decoding)]
        return texts[0] if one else texts

    def _is_for(self, tasks: Sequence[str], what: str) -> None:
        if self.task not in tasks:
            raise UserError(f"this model was trained for task={self.task} and gives no {what}; use write(prompt=...)")

    def _vectors(
        self, pictures: Sequence[Picture], texts: Sequence[str], embeddings: NDArray[np.floating] | None
    ) -> Floats:
        if sum((len(pictures) > 0, len(texts) > 0, embeddings is not None)) != 1:
            raise UserError("give exactly one of pictures, texts and embeddings, and at least one of it")
        if embeddings is not None:
            vectors = np.asarray(embeddings, dtype=np.float32)
            dim = self.network.config.encoder["dim"]
            if vectors.ndim not in (2, 3) or vectors.shape[-1] != dim:
                raise UserError(
                    f"embeddings of shape {vectors.shape}: {self.network.config.encoder['name']} gives (rows, {dim})"
                )
            return vectors
        if len(texts):
            return self.encoder.encode_texts(list(texts))
        return self.encoder.encode_images(map(_opened, pictures))


def _opened(picture: Picture) -> Image.Image:
    return as_rgb(picture) if isinstance(picture, Image.Image) else open_picture(Path(picture))


def _folder(name: str | Path, checkpoint: str | None) -> tuple[Path, dict[str, Any]]:
    """Where the weights are, and what is known of the model."""
    path = Path(name)
    if checkpoint not in (None, "best", "last"):
        raise UserError(f"checkpoint={checkpoint}: allowed are best and last")
    if path.is_dir() and not (path / _CONFIG).is_file():
        return RunFolder(path).intact(checkpoint or "best"), about_run(path)
    if checkpoint is not None:
        raise UserError(
            f"checkpoint={checkpoint}: {name} is no run but one saved model; leave checkpoint out, or give the run"
        )
    if path.is_dir():
        return path, read_about(path)
    try:
        path = Path(snapshot_download(str(name)))
    except Exception as error:  # as above
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"{name}: is no folder here, and cannot be had from the hub ({reason}); give a run's folder, or connect to the hub"
        ) from error
    return path, read_about(path)
