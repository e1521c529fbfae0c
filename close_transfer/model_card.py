"""What is told of a trained model where it is published: data, what it saw, noise, scores, licence, use."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from close_transfer.errors import UserError
from close_transfer.files import read_json, write_json
from close_transfer.model import TransferConfig
from close_transfer.noise import NoiseScale
from close_transfer.results import read_results
from close_transfer.runs import read_run

ABOUT = "about.json"
_SEEN = {
    "T0": "text only; no picture was seen in training (T0)",
    "T1": "text, and statistics of unpaired pictures (T1)",
    "T4": "pictures paired with text (T4)",
}
_USES = {
    "captioning": ("caption", ""),
    "captioning-multi": ("caption", ""),
    "vqa": ("answer", ', "How many dogs are there?"'),
    "vqa-e": ("answer", ', "How many dogs are there?"'),
    "snli-ve": ("judge", ', "A dog sleeps."'),
}


def about_run(run: Path) -> dict[str, Any]:
    """What a run's folder tells about the model: its settings, facts about its data, and all results in it.

    Raises:
        UserError: if the folder holds no run, or a damaged file.
    """
    config, facts = read_run(run)
    found = [read_results(path, "run") for path in sorted(run.glob("*/results.json"))]
    return {
        "settings": config.model_dump(mode="json"),
        "facts": facts,
        "results": [
            {
                "data": one.data, "split": one.split, "scene": one.scene, "num_examples": one.num_examples,
                "metrics": one.metrics, "intervals": one.intervals,
            }
            for one in found
        ],
    }  # fmt: skip


def read_about(folder: Path) -> dict[str, Any]:
    """What a saved model's folder tells about it; empty if nothing."""
    path = folder / ABOUT
    if not path.is_file():
        return {}
    about = read_json(path)
    if not isinstance(about, dict):
        raise UserError(f"{path}: holds no object; restore it, or delete it")
    return about


def model_card(config: TransferConfig, about: Mapping[str, Any], name: str, licence: str | None) -> ModelCard:
    """The README.md of a model, with the metadata that the hub reads.

    Args:
        config: of the network.
        about: as `about_run`.
        name: what the model is called.
        licence: an identifier of the hub's list, such as "apache-2.0"; None where nobody chose one.
    """
    results = about.get("results", [])
    data = ModelCardData(
        license=licence,
        library_name="close-transfer",
        pipeline_tag="image-to-text" if config.task["name"].startswith("captioning") else "visual-question-answering",
        tags=["text-only-training", "clip", config.regime],
        base_model=config.base["name"] if config.base else None,
        model_name=name if results else None,
        eval_results=_eval_results(config, results) or None,
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_text(config, about, name, licence)}")


def _eval_results(config: TransferConfig, results: Sequence[Mapping[str, Any]]) -> list[EvalResult]:
    kind = "image-to-text" if config.task["name"].startswith("captioning") else "visual-question-answering"
    return [
        EvalResult(
            task_type=kind, dataset_type=one["data"], dataset_name=f"{one['data']} {one['split']}, from {one['scene']}s",
            dataset_split=one["split"], metric_type=metric, metric_value=round(value, 2),
        )
        for one in results
        for metric, value in one["metrics"].items()
        if "/" not in metric
    ]  # fmt: skip


def _text(config: TransferConfig, about: Mapping[str, Any], name: str, licence: str | None) -> str:
    facts, settings = about.get("facts", {}), about.get("settings", {})
    noise = NoiseScale(config.noise["std"], config.encoder["dim"])
    data = settings.get("data", {}).get("name", "not known")
    lines = {
        "task": config.task["name"],
        "trained on": f"{data}, {facts['num_examples']:,} examples" if "num_examples" in facts else data,
        "training saw": _SEEN[config.regime],
        "encoder": f"{config.encoder['name']}, {config.encoder['dim']} wide, frozen",
        "noise": str(noise),
        "adapter": " → ".join(step["name"] for step in config.adapter),
        "language model": _language_model(config, settings),
        "licence": licence or "none was chosen; those of the encoder, the language model and the data apply",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in lines.items())
    return f"""# {name}

Writes text for pictures, having learned from the text vectors of a frozen CLIP with noise added to them (CLOSE, arXiv
2211.09778). Made with close-transfer.

| | |
|---|---|
{table}

## Scores

{_scores(about.get("results", []))}

## Use

```python
{_use(config, name)}
```

## Limits

It knows what its training text told, with that text's biases, and sees what its encoder sees. It may name things that
are not there. {_world(data)}
"""


def _language_model(config: TransferConfig, settings: Mapping[str, Any]) -> str:
    lm = settings.get("lm", {})
    trained = (
        "frozen"
        if config.base and not config.base["lora"]
        else "low-rank updates"
        if config.base
        else "all of it trained"
    )
    return f"{lm.get('name', config.lm.get('model_type', 'not known'))}, {trained}"


def _scores(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return "Not evaluated."
    rows = ["| data | split | fed with | metric | score | 95% interval | examples |", "|---|---|---|---|---|---|---|"]
    for one in results:
        for metric, value in one["metrics"].items():
            ends = one["intervals"].get(metric)
            interval = f"{ends[0]:.1f} to {ends[1]:.1f}" if ends else ""
            rows.append(
                f"| {one['data']} | {one['split']} | {one['scene']} | {metric} | {value:.1f} | {interval} | {one['num_examples']:,} |"
            )
    return "\n".join(rows)


def _use(config: TransferConfig, name: str) -> str:
    method, arguments = _USES.get(config.task["name"], ("write", ""))
    call = (
        f'model.{method}("photo.jpg"{arguments})'
        if method != "write"
        else 'model.write(["photo.jpg"], prompt="...")[0].text'
    )
    return f'from close_transfer import TransferModel\n\nmodel = TransferModel.from_pretrained("{name}")\nprint({call})'


def _world(data: str) -> str:
    if data != "picturebook":
        return ""
    return "It was trained on Picturebook, a small world drawn by code, and its scores say nothing about photographs."


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Puts what is known of the model beside its weights."""
    write_json(folder / ABOUT, about)
