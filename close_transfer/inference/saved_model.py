"""Loading, saving and publishing of a trained model with its tokenizer and encoder."""

from pathlib import Path
from typing import Any, Self

import torch
import transformers

from close_transfer.config.components import CaptionerEncoderConfig
from close_transfer.config.encoder_folder import ENCODER_FOLDER
from close_transfer.core.atomic_files import report_write_errors
from close_transfer.core.checksums import write_checksums
from close_transfer.core.errors import UserError
from close_transfer.core.pages import write_page
from close_transfer.encoders import Encoder, load_encoder
from close_transfer.encoders.captioner_encoder import copy_encoder
from close_transfer.inference.hub import find_model, publish
from close_transfer.inference.loading import check_encoder, load_encoder_settings, load_task_settings
from close_transfer.models.device import pick_device
from close_transfer.models.network import TransferNetwork
from close_transfer.models.pretrained import load_saved_tokenizer
from close_transfer.models.saving import save_parts
from close_transfer.reports.model_card import ABOUT, build_model_card, write_about
from close_transfer.tasks import build_task


class SavedModel:
    """Parts of a trained model that a folder or the hub holds; `TransferModel` adds the methods that write texts.

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
        task = build_task(load_task_settings(network))
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
        return cls(network, load_saved_tokenizer(folder), about=about)

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

    def save_pretrained(self, folder: str | Path, name: str | None = None, licence: str | None = None) -> None:
        """Save weights, configuration, tokenizer and a model card to a folder that `from_pretrained` loads.

        The card and about.json hold names of files without their paths. config.json keeps the paths that loading on this
        machine needs: the folder of a LoRA or frozen model's language model, and the encoder's weights. `push_to_hub`
        leaves them out. The encoder of a captioner is saved with it.

        Args:
            folder: path of the folder, which is created if needed; existing files are overwritten.
            name: name of the model on the card; None uses the folder's name.
            licence: identifier of a licence on the hub, such as "apache-2.0", or the name of another licence; None if
                no licence has been chosen.

        Raises:
            UserError: if the encoder of a captioner is missing or damaged.
            WriteError: if the folder cannot be written.
        """
        folder = Path(folder)
        with report_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        # After a kill in between, the files do not fit the checksums that were there before.
        names = save_parts(folder, self.network) + save_parts(folder, self.tokenizer)
        if self.network.config.encoder.get("config", {}).get("kind") == "captioner":
            encoder = load_encoder_settings(self.network)
            assert isinstance(encoder, CaptionerEncoderConfig)
            copy_encoder(encoder.model, folder / ENCODER_FOLDER)
        write_about(folder, self.about)
        write_checksums(folder, [*names, ABOUT])
        card = build_model_card(self.network.config, self.about, name or folder.name, licence)
        write_page(folder / "README.md", str(card))

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
