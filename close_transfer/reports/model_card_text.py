"""Text of a model card: summary, training, scores, usage, intended and out-of-scope use, limitations."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from close_transfer.config.choices import WORDS_BY_DATA_REGIME
from close_transfer.config.components import find_encoder_class
from close_transfer.core.markdown import Markdown, escape_text, format_code, format_code_block, format_table
from close_transfer.models.adapters import ADAPTERS
from close_transfer.models.mappers import MAPPERS
from close_transfer.models.network import TransferConfig
from close_transfer.models.noise_scale import NoiseScale
from close_transfer.reports.redaction import redact_name
from close_transfer.tasks import get_task


def is_blind(config: TransferConfig) -> bool:
    """Return True if zeros replace the encoder's vectors, in training and in use."""
    return any(ADAPTERS[step["name"]].is_blind for step in config.adapter)


def _is_trained_with_encoder(config: TransferConfig) -> bool:
    """Return True for a captioner, whose decoder reads the vectors of the encoder that it was trained with."""
    return config.mapper.get("name") in {name for name, mapper in MAPPERS.items() if mapper.reads_raw_vectors}


def is_trained_on_images(config: TransferConfig, about: Mapping[str, Any]) -> bool:
    """Return True if the model was trained on image vectors; decided by the data regime if the run's facts are unknown."""
    input_modality = about.get("facts", {}).get("input_modality")
    return (
        input_modality == "image"
        if input_modality
        else config.data_regime == "T4"
        and not any(ADAPTERS[step["name"]].data_regime == "T4" for step in config.adapter)
    )


def write_card_text(config: TransferConfig, about: Mapping[str, Any], name: str, licence: str | None) -> str:
    """Return the card below its metadata, as Markdown; the arguments are those of `build_model_card`."""
    facts, settings = about.get("facts", {}), about.get("settings", {})
    lines = {
        "task": config.task["name"],
        **_build_task_lines(config, settings),
        **_build_data_lines(facts, settings),
        "data regime": f"{config.data_regime}: {WORDS_BY_DATA_REGIME[config.data_regime].card}",
        "encoder": f"{redact_name(config.encoder['name'])}, {config.encoder['dim']} dimensions, "
        f"{'trained with the decoder' if _is_trained_with_encoder(config) else 'frozen'}",
        "noise": str(NoiseScale(config.noise["std"], config.encoder["dim"])),
        "adapter": "none" if _is_trained_with_encoder(config) else " → ".join(step["name"] for step in config.adapter),
        "language model": _describe_language_model(config, settings),
        "licence": licence or "not chosen; the licences of the encoder, the language model and the data apply",
    }
    table = format_table(["", ""], list(lines.items()))
    return f"""# {escape_text(name)}

{_write_first_sentence(config, about)} Made with close-transfer (CLOSE, arXiv 2211.09778).

{table}

## Scores

{_format_scores(about.get("results", []))}

## Use

{format_code_block(_format_usage(config, name), "python")}
{_list_needs(config)}
## Intended use

{_describe_intended_use(config, about)}

## Out-of-scope use

{_describe_misuse(config)}

## Limitations

{_describe_limits(config, settings)}
"""


def _write_first_sentence(config: TransferConfig, about: Mapping[str, Any]) -> str:
    ability, encoder = get_task(config.task["name"]).ability, escape_text(redact_name(config.encoder["name"]))
    if is_blind(config):
        return (
            f"This is a blind baseline: without seeing the image, it {ability}. Zeros replace the vectors of {encoder}, in "
            "training and in use, so its scores show what is possible without the encoder."
        )
    if _is_trained_with_encoder(config):
        return (
            f"This model {ability}. Its image encoder, {encoder}, and its decoder were trained together on images with "
            "their texts, and not on text alone."
        )
    if is_trained_on_images(config, about):
        return (
            f"This model {ability}. It was trained on the image vectors of a frozen encoder, {encoder}, "
            "and not on text alone."
        )
    noise = "with added noise" if config.noise["std"] else "without added noise"
    image_exposure = WORDS_BY_DATA_REGIME[config.data_regime].sentence
    return (
        f"This model {ability}. It was trained on the text vectors of a frozen encoder, {encoder}, {noise}; "
        f"{image_exposure}."
    )


def _build_task_lines(config: TransferConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table lines of task settings other than the name: language, prompt, metric and labels."""
    task, lines = config.task, {}
    if task.get("language"):
        lines["language"] = task["language"]
    prompt = settings.get("data", {}).get("prompt") or task.get("prompt")
    if prompt:
        lines["prompt"] = format_code(prompt)
    if task.get("metric"):
        lines["metric"] = task["metric"]
    if labels := task.get("labels"):
        lines["labels"] = ", ".join(labels)
    return lines


def _build_data_lines(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table lines of the training data and their size."""
    data = settings.get("data", {})
    file = data.get("path") or (data.get("files") or {}).get("train")
    parts = [escape_text(data.get("name", "unknown")), *([format_code(file)] if file else [])]
    if "num_examples" in facts:
        parts.append(escape_text(f"{facts['num_examples']:,} examples"))
    lines: dict[str, str] = {"training data": Markdown(", ".join(parts))}
    if facts.get("num_skipped"):
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in facts.get("skipped", {}).items())
        lines["entries left out"] = f"{facts['num_skipped']:,}" + (f" ({reasons})" if reasons else "")
    if "data_fingerprint" in facts:
        lines["data fingerprint"] = format_code(facts["data_fingerprint"])
    return lines


def _describe_language_model(config: TransferConfig, settings: Mapping[str, Any]) -> str:
    lm = settings.get("lm", {})
    if not config.base_model:
        return f"{lm.get('name', config.lm.get('model_type', 'unknown'))}, all weights trained"
    return f"{config.base_model['name']}, {'trained with LoRA' if config.base_model['lora'] else 'frozen'}"


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
    return format_table(["data", "split", "input", "metric", "score", "95% interval", "examples"], rows)


def _format_usage(config: TransferConfig, name: str) -> str:
    task = get_task(config.task["name"])
    example_prompt = f', "{task.example_prompt}"' if task.example_prompt else ""
    call = (
        f'model.{task.method}("photo.jpg"{example_prompt})'
        if task.method != "write"
        else 'model.write(["photo.jpg"], prompt="...")[0].text'
    )
    base_model = (
        f", base_model={_quote(config.base_model['name'])}"
        if config.base_model and config.base_model.get("folder")
        else ""
    )
    comment = "" if "/" in name else "  # or the path of this folder"
    return (
        f"from close_transfer import TransferModel\n\nmodel = TransferModel.from_pretrained({_quote(name)}{base_model}){comment}\n"
        f"print({call})"
    )


def _quote(text: str) -> str:
    """Return a text as a literal of Python."""
    return json.dumps(text, ensure_ascii=False)


def _list_needs(config: TransferConfig) -> str:
    """Return paragraphs on what the model needs in addition to these files."""
    needs = []
    if config.base_model:
        source = (
            "It is a local folder of this model's author: ask for it, and give its path as `base_model=`."
            if config.base_model.get("folder")
            else "It is loaded from the hub; to use a local copy, give its folder as `base_model=`."
        )
        needs.append(
            f"These files hold only the weights that were trained. You also need the base language model, "
            f"{format_code(config.base_model['name'])}. {source} Its fingerprint is checked "
            f"({escape_text(config.base_model['fingerprint'][:12])})."
        )
    encoder = config.encoder.get("config", {})
    if not find_encoder_class(encoder).encodes_images:
        needs.append(
            "The model was trained on vectors from files, so it takes vectors of the same encoder (`embeddings=`) and "
            "not images."
        )
    elif encoder.get("weights") or str(encoder.get("model", "")).startswith("local-dir:"):
        needs.append("You also need the encoder's weights, which are a local file of this model's author.")
    return "\n" + "".join(f"{need}\n\n" for need in needs)


def _describe_intended_use(config: TransferConfig, about: Mapping[str, Any]) -> str:
    if is_blind(config):
        return "Use it as a baseline for models that see the image: its score is what is possible without seeing it."
    covered = "images and their texts" if is_trained_on_images(config, about) else "text"
    return (
        "Use it for research, and for drafts that a person checks. It works best on the subjects of its training "
        f"{covered}, and in the same language."
    )


def _describe_misuse(config: TransferConfig) -> str:
    warnings = [
        "- Decisions about people, and uses in which an unchecked wrong text does harm: health, law, safety, or "
        "descriptions for blind readers who cannot ask anyone to verify them.",
        "- Statements about who a person is or what they are like. The model repeats the names and prejudices of its "
        "training text.",
        "- Reading text in images, exact counts and exact positions. One vector per image holds little of them.",
        "- Vectors of any other encoder, and tasks other than the one above.",
    ]
    return "\n".join(warnings[:2] + warnings[-1:] if is_blind(config) else warnings)


def _describe_limits(config: TransferConfig, settings: Mapping[str, Any]) -> str:
    if is_blind(config):
        limits = "Its output is the same for every image and changes only with the prompt. "
    else:
        limits = (
            "It knows only what its training text describes, with the biases of that text, and it sees only what its "
            "encoder captures. It may name things that are not in the image. "
        )
    if settings.get("data", {}).get("name") == "picturebook":
        limits += (
            "It was trained on Picturebook, a small world of clip art drawn by code, so its scores say nothing about "
            "photographs. "
        )
    if config.encoder.get("config", {}).get("model") == "picturebook":
        limits += (
            "Its encoder is Picturebook's, which was trained only on that clip art and captures next to nothing of "
            "photographs. "
        )
    return limits.strip()
