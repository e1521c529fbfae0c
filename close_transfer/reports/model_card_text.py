"""The words of a model card: what the model is, what it was trained on, for what it may be used and for what not."""

from collections.abc import Mapping, Sequence
from typing import Any

from close_transfer.config.choices import WORDS_BY_DATA_REGIME
from close_transfer.config.components import find_encoder_class
from close_transfer.core.markdown import escape_cell, format_table
from close_transfer.models.adapters import ADAPTERS
from close_transfer.models.network import TransferConfig
from close_transfer.models.noise_scale import NoiseScale
from close_transfer.reports.redaction import redact_name
from close_transfer.tasks import get_task


def is_blind(config: TransferConfig) -> bool:
    """Whether the model sees nothing, in training and in use."""
    return any(ADAPTERS[step["name"]].is_blind for step in config.adapter)


def is_trained_on_images(config: TransferConfig, about: Mapping[str, Any]) -> bool:
    """Whether it was fed vectors of images in training; by its regime, where the run's facts are not known."""
    input_modality = about.get("facts", {}).get("input_modality")
    return (
        input_modality == "image"
        if input_modality
        else config.data_regime == "T4"
        and not any(ADAPTERS[step["name"]].data_regime == "T4" for step in config.adapter)
    )


def write_card_text(config: TransferConfig, about: Mapping[str, Any], name: str, licence: str | None) -> str:
    """The card below its metadata, as Markdown; arguments as of `build_model_card`."""
    facts, settings = about.get("facts", {}), about.get("settings", {})
    lines = {
        "task": config.task["name"],
        **_build_task_lines(config, settings),
        **_build_data_lines(facts, settings),
        "training saw": f"{WORDS_BY_DATA_REGIME[config.data_regime].card} ({config.data_regime})",
        "encoder": f"{redact_name(config.encoder['name'])}, {config.encoder['dim']} wide, frozen",
        "noise": str(NoiseScale(config.noise["std"], config.encoder["dim"])),
        "adapter": " → ".join(step["name"] for step in config.adapter),
        "language model": _describe_language_model(config, settings),
        "licence": licence or "none was chosen; those of the encoder, the language model and the data apply",
    }
    table = format_table(["", ""], [[key, escape_cell(value, is_markdown=True)] for key, value in lines.items()])
    return f"""# {name}

{_write_first_sentence(config, about)} Made with close-transfer (CLOSE, arXiv 2211.09778).

{table}

## Scores

{_format_scores(about.get("results", []))}

## Use

```python
{_format_usage(config, name)}
```
{_list_needs(config)}
## What it is for

{_describe_intended_use(config, about)}

## What it is not for

{_describe_misuse(config)}

## Limits

{_describe_limits(config, settings)}
"""


def _write_first_sentence(config: TransferConfig, about: Mapping[str, Any]) -> str:
    ability, encoder = get_task(config.task["name"]).ability, redact_name(config.encoder["name"])
    if is_blind(config):
        return (
            f"A baseline that {ability} without seeing them: zeros stood in for the vectors of {encoder}, in training and in "
            "use, so it shows what can be said blind."
        )
    if is_trained_on_images(config, about):
        return f"It {ability}, and learned it from the image vectors of a frozen encoder, {encoder}; it was not trained on text alone."
    noise = "with noise added to them" if config.noise["std"] else "with no noise added to them"
    image_exposure = WORDS_BY_DATA_REGIME[config.data_regime].sentence
    return (
        f"It {ability}, and learned it from the text vectors of a frozen encoder, {encoder}, {noise}; {image_exposure}."
    )


def _build_task_lines(config: TransferConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the task was told, where it is more than its name."""
    task, lines = config.task, {}
    if task.get("language"):
        lines["language"] = task["language"]
    prompt = settings.get("data", {}).get("prompt") or task.get("prompt")
    if prompt:
        lines["prompt"] = f"`{prompt}`"
    if task.get("metric"):
        lines["metric"] = task["metric"]
    if labels := task.get("labels"):
        lines["labels"] = ", ".join(labels)
    return lines


def _build_data_lines(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Which data it was trained on, and how much of it."""
    data = settings.get("data", {})
    file = data.get("path") or (data.get("files") or {}).get("train")
    description = data.get("name", "not known") + (f", `{file}`" if file else "")
    if "num_examples" in facts:
        description += f", {facts['num_examples']:,} examples"
    lines = {"trained on": description}
    if facts.get("num_skipped"):
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in facts.get("skipped", {}).items())
        lines["left out"] = f"{facts['num_skipped']:,} entries" + (f" ({reasons})" if reasons else "")
    if "data_fingerprint" in facts:
        lines["fingerprint of the data"] = f"`{facts['data_fingerprint']}`"
    return lines


def _describe_language_model(config: TransferConfig, settings: Mapping[str, Any]) -> str:
    lm = settings.get("lm", {})
    if not config.base_model:
        return f"{lm.get('name', config.lm.get('model_type', 'not known'))}, all of it trained"
    return f"{config.base_model['name']}, {'low-rank updates' if config.base_model['lora'] else 'frozen'}"


def _format_scores(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return "Not evaluated."
    rows = []
    for result in results:
        for metric, value in result["metrics"].items():
            bounds = result["intervals"].get(metric)
            interval = f"{bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else ""
            named = [result["data"], result["split"], result["scene"], metric]
            rows.append([*named, f"{value:.1f}", interval, f"{result['num_examples']:,}"])
    return format_table(["data", "split", "fed with", "metric", "score", "95% interval", "examples"], rows)


def _format_usage(config: TransferConfig, name: str) -> str:
    task = get_task(config.task["name"])
    example_prompt = f', "{task.example_prompt}"' if task.example_prompt else ""
    call = (
        f'model.{task.method}("photo.jpg"{example_prompt})'
        if task.method != "write"
        else 'model.write(["photo.jpg"], prompt="...")[0].text'
    )
    base_model = (
        f', base_model="{config.base_model["name"]}"' if config.base_model and config.base_model.get("folder") else ""
    )
    comment = "" if "/" in name else "  # or wherever this folder is"
    return (
        f'from close_transfer import TransferModel\n\nmodel = TransferModel.from_pretrained("{name}"{base_model}){comment}\n'
        f"print({call})"
    )


def _list_needs(config: TransferConfig) -> str:
    """What is not in these files and has to be there."""
    needs = []
    if config.base_model:
        source = (
            "which is a folder of whoever trained this model; ask for it, and give it as `base_model=`"
            if config.base_model.get("folder")
            else "which is loaded from the hub, or from a folder by `base_model=`"
        )
        needs.append(
            f"These files hold what was trained only. The language model under it is needed too: `{config.base_model['name']}`, "
            f"{source} (its fingerprint is checked, {config.base_model['fingerprint'][:12]})."
        )
    encoder = config.encoder.get("config", {})
    if not find_encoder_class(encoder).encodes_images:
        needs.append(
            "It was trained on vectors from files, so it takes vectors of the same encoder (`embeddings=`), no images."
        )
    elif encoder.get("weights") or str(encoder.get("model", "")).startswith("local-dir:"):
        needs.append("The encoder's weights are a local file of whoever trained this model, and are needed too.")
    return "\n" + "".join(f"{need}\n\n" for need in needs)


def _describe_intended_use(config: TransferConfig, about: Mapping[str, Any]) -> str:
    if is_blind(config):
        return "To be set against models that see, as the score that is had without looking."
    learned = "images" if is_trained_on_images(config, about) else "text"
    return (
        f"For research, and for a draft that somebody checks: it {get_task(config.task['name']).ability} of the kind that its training "
        f"{learned} told of, in the language of that text."
    )


def _describe_misuse(config: TransferConfig) -> str:
    warnings = [
        "- Decisions about people, or anything where a wrong text does harm unless somebody checks it (health, law, safety, "
        "access for blind readers without a way to ask back).",
        "- Who somebody is, or what they are like: it names what its text named, with that text's prejudices.",
        "- Reading text in images, exact counts and positions: one vector of an image holds little of them.",
        "- Vectors of any other encoder, and other tasks than the one above.",
    ]
    return "\n".join(warnings[:2] + warnings[-1:] if is_blind(config) else warnings)


def _describe_limits(config: TransferConfig, settings: Mapping[str, Any]) -> str:
    if is_blind(config):
        limits = "It says the same of every image, but for the prompt. "
    else:
        limits = (
            "It knows what its training text told, with that text's biases, and sees what its encoder sees. It may name "
            "things that are not there. "
        )
    if settings.get("data", {}).get("name") == "picturebook":
        limits += (
            "It was trained on Picturebook, a small world drawn by code, and its scores say nothing about photographs. "
        )
    if config.encoder.get("config", {}).get("model") == "picturebook":
        limits += (
            "Its encoder is Picturebook's, which knows that drawn world only and sees next to nothing in photographs. "
        )
    return limits.strip()
