"""The model: adapter, mapper and language model as one transformers `PreTrainedModel`.

It sees vectors and token ids. Which encoder the vectors come from, which task is served and how
text is to be shaped is written in its config, so that a saved folder is all that inference needs.

Shapes: b scenes, d width of the vectors, p prompt tokens, s = mapper's tokens + p, t targets
(several of one scene allowed), l target tokens, v vocabulary.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from close_transfer.config.choices import InputModality
from close_transfer.core.errors import UserError
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


class TransferConfig(PreTrainedConfig):
    """Everything that inference needs besides the weights.

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
        statistics: what the adapters' statistics were measured on; None where none were read.
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
    """Writes text from vectors; trained on text vectors, fed image vectors at test time."""

    config_class = TransferConfig
    base_model_prefix = ""
    main_input_name = "vectors"

    def __init__(
        self, config: TransferConfig, lm: PreTrainedModel | None = None, statistics: Statistics | None = None
    ) -> None:
        """Builds the parts the config names.

        Args:
            config: see `TransferConfig`.
            lm: a language model that is there already (pretrained, say); built from
                ``config.lm`` with random weights when None.
            statistics: what adapters are fitted by; None when weights are about to be loaded.
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
        # Set for testing only: projects adapted vectors on a memory of texts (`text_memory.py`).
        self.text_memory: Callable[[Tensor], Tensor] | None = None
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Parts initialise themselves when they are built."""

    def train(self, mode: bool = True) -> Self:
        """A language model of which nothing is trained stays as it is in test, without dropout."""
        super().train(mode)
        if self.config.base_model is not None and self.config.base_model["lora"] is None:
            self.lm.eval()
        return self

    def read(
        self,
        vectors: Float[Tensor, "b *k d"],
        prompt_ids: Int[Tensor, "b p"],
        prompt_mask: Int[Tensor, "b p"],
        input_modality: InputModality,
        noise: NoiseSource | None = None,
    ) -> Context:
        """What the language model writes from: the vector's tokens, the prompt, and what its format puts around them."""
        adapted = self.adapter(vectors, input_modality, noise)
        embeddings = self.lm.get_input_embeddings()
        prefix = self.mapper(adapted if self.text_memory is None else self.text_memory(adapted)).to(
            embeddings.weight.dtype
        )
        before = self.config.text_format["before"]
        return self.conditioning.read(self.lm, before, prefix, embeddings(prompt_ids), prompt_mask)

    def forward(
        self,
        vectors: Float[Tensor, "b d"],
        prompt_ids: Int[Tensor, "b p"],
        prompt_mask: Int[Tensor, "b p"],
        labels: Int[Tensor, "t l"],
        scene_of_target: Int[Tensor, " t"],
        input_modality: InputModality,
        noise: NoiseSource | None = None,
    ) -> Float[Tensor, "t l v"]:
        """Logits of every target token. A scene is encoded once, however many targets it has.

        Args:
            vectors: raw vectors of the encoder, of any length.
            prompt_ids, prompt_mask: prompts, p may be 0.
            labels: target token ids, `IGNORED` where padded.
            scene_of_target: which scene each target belongs to.
            input_modality, noise: see `AdapterChain`.
        """
        context = self.read(vectors, prompt_ids, prompt_mask, input_modality, noise)
        return self.conditioning.logits(self.lm, context.of(scene_of_target), labels)

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Saves as transformers does; of a base that was not trained whole, what was trained only."""
        if self.config.base_model is not None:
            kwargs.setdefault("state_dict", self._collect_saved_state())
        super().save_pretrained(save_directory, **kwargs)

    def _collect_saved_state(self) -> dict[str, Tensor]:
        trained = {f"lm.{name}" for name, parameter in self.lm.named_parameters() if parameter.requires_grad}
        return {
            name: tensor for name, tensor in self.state_dict().items() if not name.startswith("lm.") or name in trained
        }

    @classmethod
    def from_pretrained(cls, folder: Any, *args: Any, base_model: str | None = None, **kwargs: Any) -> Self:  # type: ignore[override]
        """Loads what `save_pretrained` wrote.

        Args:
            folder: of the checkpoint.
            base_model: the folder of the language model whose weights were left out; None: it is where training found it.

        Raises:
            UserError: if config.json is damaged; if such a base cannot be loaded, or has other weights than in training; if one is given and none
                was left out.
        """
        check_saved_config(Path(folder) / _CONFIG)
        config = TransferConfig.from_pretrained(folder)
        if config.base_model is None:
            if base_model is not None:
                raise UserError(
                    f"base_model={base_model}: the checkpoint holds all of its language model; leave base_model out"
                )
            return super().from_pretrained(folder, *args, **kwargs)
        model = cls(config, load_base_model(config.base_model, base_model))
        if base_model is not None and config.base_model.get("folder"):  # what is saved again says where it is now
            model.config.base_model = {**config.base_model, "folder": str(Path(base_model).resolve())}
        saved = load_file(Path(folder) / _WEIGHTS)
        missing, unexpected = model.load_state_dict(saved, strict=False)
        assert not unexpected and not set(missing) & model._collect_saved_state().keys(), (missing, unexpected)
        return model


AutoConfig.register(TransferConfig.model_type, TransferConfig)
