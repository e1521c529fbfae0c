"""The network: adapter, mapper and language model as one transformers `PreTrainedModel`.

It sees vectors and token ids only. Its config says which encoder the vectors come from, which task it serves
and how text is shaped, so a saved folder holds all that inference needs.

Shapes: b scenes, *k patches of a scene (absent where a scene has one vector), d width of the vectors, p prompt tokens,
s = mapper's tokens + p, t targets (a scene may have several), l target tokens, v vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from close_transfer.config.choices import InputModality
from close_transfer.core.atomic_files import damaged_file_error
from close_transfer.core.errors import UserError
from close_transfer.core.model_folder import refuse_code
from close_transfer.core.weight_headers import read_header
from close_transfer.encoders.weight_files import check_shapes, limit_parameters
from close_transfer.models.adapters import AdapterChain, AdapterContext, NoiseSource, Statistics
from close_transfer.models.language_models import build_from_config, load_base_model, reset_generation_config
from close_transfer.models.lm_wrappers import Context, build_lm_wrapper
from close_transfer.models.mappers import build_mapper
from close_transfer.models.saved_config import (
    SavedBaseModel,
    SavedEncoder,
    SavedNoise,
    SavedStatistics,
    SavedTask,
    SavedTextFormat,
    check_saved_config,
)

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"
_ONE_FILE = "1000TB"  # larger than any model, because `from_pretrained` reads one file


class TransferConfig(PreTrainedConfig):
    """Facts that inference needs in addition to the weights.

    Attributes:
        encoder: name, fingerprint and dim of the frozen encoder, and how to build it again.
        adapter: name and settings of each adapter, in their order.
        mapper: its name and numbers.
        noise: what training added, in all units (std, variance, length, cosine), and the `choice` of a rule.
        task: the task's name, token limits, lower-casing and number of beams.
        data_regime: what training saw: "T0" text only, "T1" unpaired images too, "T4" images paired with text.
        lm: the language model's own config.
        text_format: how text is put to it (`prompt_format.py`), and the ids before the vector's tokens.
        base_model: the language model whose weights are not saved, as `LanguageModel.base_model`; None where all are.
        statistics: what the adapters' statistics were measured on; None if none were read.
    """

    model_type = "close_transfer"

    def __init__(
        self,
        encoder: SavedEncoder | None = None,
        adapter: list[dict[str, Any]] | None = None,
        mapper: dict[str, Any] | None = None,
        noise: SavedNoise | None = None,
        task: SavedTask | None = None,
        data_regime: str = "T0",
        lm: dict[str, Any] | None = None,
        text_format: SavedTextFormat | None = None,
        base_model: SavedBaseModel | None = None,
        statistics: SavedStatistics | None = None,
        **kwargs: Any,
    ) -> None:
        # transformers builds an empty one, to see which values differ from it; a model needs all parts.
        self.encoder = encoder or cast(SavedEncoder, {})
        self.adapter = adapter or []
        self.mapper = mapper or {}
        self.noise = noise or cast(SavedNoise, {})
        self.task = task or cast(SavedTask, {})
        self.data_regime = data_regime
        self.lm = lm or {}
        self.text_format: SavedTextFormat = text_format or {"kind": "encoder-decoder", "before": []}
        self.base_model = base_model
        self.statistics = statistics
        super().__init__(**kwargs)


class TransferNetwork(PreTrainedModel):
    """A model that writes text from vectors: text vectors in training, image vectors at test time."""

    config_class = TransferConfig
    base_model_prefix = ""
    main_input_name = "vectors"

    def __init__(
        self, config: TransferConfig, lm: PreTrainedModel | None = None, statistics: Statistics | None = None
    ) -> None:
        """Build the parts that the config names.

        Args:
            config: see `TransferConfig`.
            lm: an existing language model, for example a pretrained one; None: one is built from ``config.lm``
                with random weights.
            statistics: statistics that adapters are fitted by; None if weights will be loaded.
        """
        super().__init__(config)
        self.adapter = AdapterChain(
            config.adapter, AdapterContext(config.encoder["dim"], config.noise["std"], statistics)
        )
        if lm is None:
            lm = build_from_config(AutoConfig.for_model(**config.lm))
            reset_generation_config(lm)
        self.lm = lm
        self.conditioning = build_lm_wrapper(config.text_format["kind"] == "encoder-decoder")
        embeddings = lm.get_input_embeddings().weight
        assert isinstance(embeddings, Tensor)
        self.mapper = build_mapper(config.mapper, config.encoder["dim"], embeddings.shape[1])
        # Set at test time only: projects adapted vectors onto a memory of text vectors (`text_memory.py`).
        self.text_memory: Callable[[Tensor], Tensor] | None = None
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Do nothing; each part initialises its weights when it is built."""

    def train(self, mode: bool = True) -> "TransferNetwork":
        """Switch to training mode; a frozen language model stays in evaluation mode, without dropout."""
        super().train(mode)
        if self.config.base_model is not None and self.config.base_model["lora"] is None:
            self.lm.eval()
        return self

    def adapt(
        self, vectors: Float[Tensor, "b *k d"], input_modality: InputModality, noise: NoiseSource | None = None
    ) -> Float[Tensor, "b *k d"]:
        """Return the vectors as the mapper reads them: adapted, or as they are if it reads raw vectors."""
        return vectors if self.mapper.reads_raw_vectors else self.adapter(vectors, input_modality, noise)

    def read(
        self,
        vectors: Float[Tensor, "b *k d"],
        prompt_ids: Int[Tensor, "b p"],
        prompt_mask: Int[Tensor, "b p"],
        input_modality: InputModality,
        noise: NoiseSource | None = None,
    ) -> Context:
        """Return the language model's context: the vector's tokens and the prompt, in the model's text format."""
        adapted = self.adapt(vectors, input_modality, noise)
        embeddings = self.lm.get_input_embeddings()
        prefix = self.mapper(adapted if self.text_memory is None else self.text_memory(adapted)).to(
            embeddings.weight.dtype
        )
        # The gradient of an empty look-up would be a whole table of zeros, which is added to that of the other tokens.
        prompt = embeddings(prompt_ids) if prompt_ids.shape[1] else prefix[:, :0]
        return self.conditioning.read(self.lm, self.config.text_format["before"], prefix, prompt, prompt_mask)

    def forward(
        self,
        vectors: Float[Tensor, "b *k d"],
        prompt_ids: Int[Tensor, "b p"],
        prompt_mask: Int[Tensor, "b p"],
        labels: Int[Tensor, "t l"],
        scene_of_target: Int[Tensor, " t"],
        input_modality: InputModality,
        noise: NoiseSource | None = None,
        blocks: Sequence[tuple[int, int, int]] = (),
    ) -> Float[Tensor, "t l v"] | list[Float[Tensor, "n m v"]]:
        """Return logits of every target token. A scene is encoded once for all of its targets.

        Args:
            vectors: raw vectors of the encoder, of any length.
            prompt_ids, prompt_mask: prompts; p may be 0.
            labels: target token ids; `IGNORED` for padding.
            scene_of_target: row of the scene that each target belongs to.
            input_modality, noise: see `AdapterChain`.
            blocks: first target, the target after the last one, and the length of blocks of targets that are computed
                one by one; the logits of each are returned. Empty: all targets at once.
        """
        context = self.read(vectors, prompt_ids, prompt_mask, input_modality, noise)
        if not blocks:
            return self.conditioning.compute_logits(self.lm, context.select(scene_of_target), labels)
        return [
            self.conditioning.compute_logits(
                self.lm, context.select(scene_of_target[start:end]), labels[start:end, :length]
            )
            for start, end, length in blocks
        ]

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Save like transformers, but without the weights of a base that was not tuned in full."""
        if self.config.base_model is not None:
            state = {name: tensor.detach() for name, tensor in self._collect_saved_state().items()}
            kwargs.setdefault("state_dict", state)
        kwargs.setdefault("max_shard_size", _ONE_FILE)
        super().save_pretrained(save_directory, **kwargs)

    def _collect_saved_state(self) -> dict[str, Tensor]:
        """Return the tensors that are saved, by name; all if there is no base model."""
        state = self.state_dict(keep_vars=True)
        if self.config.base_model is None:
            return state
        trained = {f"lm.{name}" for name, parameter in self.lm.named_parameters() if parameter.requires_grad}
        return {name: tensor for name, tensor in state.items() if not name.startswith("lm.") or name in trained}

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, folder: Any, *args: Any, base_model: str | None = None, **kwargs: Any
    ) -> "TransferNetwork":
        """Load what `save_pretrained` wrote.

        Args:
            folder: folder of the checkpoint.
            base_model: folder of the language model whose weights were left out; None: its folder in training.

        Raises:
            UserError: if config.json or the weights are damaged or do not fit together, if such a base cannot be loaded or
                has other weights than in training, or if one is given but the checkpoint holds the whole language model.
        """
        refuse_code(Path(folder))
        check_saved_config(Path(folder) / _CONFIG)
        with _report_damage(Path(folder) / _CONFIG):
            config = TransferConfig.from_pretrained(folder)
        if config.base_model is None:
            if base_model is not None:
                raise UserError(
                    f"base_model={base_model}: the checkpoint holds its whole language model. Leave base_model out"
                )
            cls._check_weights(config, None, Path(folder))
            return super().from_pretrained(folder, *args, use_safetensors=True, trust_remote_code=False, **kwargs)
        lm = load_base_model(config.base_model, base_model)
        cls._check_weights(config, lm, Path(folder))
        model = cls(config, lm)
        if base_model is not None and config.base_model.get("folder"):  # saving again records the present folder
            model.config.base_model = {**config.base_model, "folder": str(Path(base_model).resolve())}
        model.load_state_dict(load_file(Path(folder) / _WEIGHTS), strict=False)
        return model

    @classmethod
    def _check_weights(cls, config: TransferConfig, lm: PreTrainedModel | None, folder: Path) -> None:
        """Check that the weights are exactly those of the model that the config describes, before it takes any memory."""
        weights = folder / _WEIGHTS
        with (
            _report_damage(folder / _CONFIG),
            limit_parameters(lambda: len(read_header(weights)), str(folder / _CONFIG)),
            torch.device("meta"),
        ):
            model = cls(config, lm)
        check_shapes(model._collect_saved_state(), weights)
        embeddings = model.lm.get_input_embeddings().weight
        assert isinstance(embeddings, Tensor)
        if max(config.text_format["before"], default=0) >= embeddings.shape[0]:
            raise damaged_file_error(folder / _CONFIG, "text_format.before: a token is not one of the language model's")


@contextmanager
def _report_damage(path: Path) -> Iterator[None]:
    """Turn errors of reading a config.json, and of building what it describes, into a `UserError` that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of many kinds: of pydantic, of transformers, of torch
        raise damaged_file_error(path, " ".join(str(error).split()) or type(error).__name__) from error


AutoConfig.register(TransferConfig.model_type, TransferConfig)
