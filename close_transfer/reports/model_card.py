"""Model card of a trained model: data, noise, scores, licence and use, with the hub's metadata."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from close_transfer.config.components import find_encoder_class
from close_transfer.core.atomic_files import read_json, write_json
from close_transfer.core.errors import UserError
from close_transfer.evaluation.results import read_results
from close_transfer.models.network import TransferConfig
from close_transfer.reports.model_card_text import is_blind, is_trained_on_images, write_card_text
from close_transfer.reports.redaction import redact
from close_transfer.tasks import get_task
from close_transfer.training.runs import read_run

ABOUT = "about.json"

# Identifiers that the hub accepts (hf.co/docs/hub/repositories-licenses).
HUB_LICENCES = frozenset([
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m",
    "bigscience-bloom-rail-1.0", "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd",
    "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "c-uda", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5",
    "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
    "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0", "epl-2.0",
    "etalab-2.0", "eupl-1.1", "eupl-1.2", "agpl-3.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1",
    "lgpl-3.0", "isc", "h-research", "intel-research", "lppl-1.3c", "ms-pl", "apple-ascl", "apple-amlr",
    "mpl-2.0", "odc-by", "odbl", "openmdw-1.0", "openrail++", "osl-3.0", "postgresql", "ofl-1.1", "ncsa",
    "unlicense", "zlib", "pddl", "lgpl-lr", "deepfloyd-if-license", "fair-noncommercial-research-license",
    "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "grok2-community", "gemma", "unknown",
    "other",
])  # fmt: skip


# Facts of a run that are published, without those of `skipped`, whose keys are reasons and not names of settings.
_PUBLISHED_FACTS = (
    "data_regime", "input_modality", "validation_input", "data_fingerprint", "encoder", "num_examples", "num_skipped",
    "num_trained_parameters",
)  # fmt: skip


def collect_run_facts(run: Path) -> dict[str, Any]:
    """Collect the settings of a run, facts about its data, and all its results, for publication.

    Paths are shortened to the names of files; local folders and machine details are left out.

    Raises:
        UserError: if the folder holds no run, or a damaged file.
    """
    config, facts = read_run(run)
    given = config.model_dump(mode="json")
    settings = redact(given)
    # The reason for leaving out texts of files lists the files.
    files, names = (", ".join(shown["exclude_overlap_with"] or ()) for shown in (given, settings))
    skipped = {reason.replace(files, names): count for reason, count in facts["skipped"].items()}
    all_results = [read_results(path, "run") for path in sorted(run.glob("*/results.json"))]
    return {
        "settings": settings,
        "facts": redact({key: facts[key] for key in _PUBLISHED_FACTS}) | {"skipped": skipped},
        "results": [
            {
                "data": results.data, "split": results.split, "scene": results.scene, "num_examples": results.num_examples,
                "metrics": results.metrics, "intervals": results.intervals,
            }
            for results in all_results
        ],
    }  # fmt: skip


def read_about(folder: Path) -> dict[str, Any]:
    """Read the facts about a saved model, without paths; empty if it has none.

    Raises:
        UserError: if the file is damaged.
    """
    path = folder / ABOUT
    if not path.is_file():
        return {}
    about = read_json(path)
    if not isinstance(about, dict):
        raise UserError(f"{path} does not hold a JSON object. Restore the file, or delete it")
    return about | {"settings": redact(about.get("settings") or {})}


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Write the facts about a model next to its weights."""
    write_json(folder / ABOUT, about)


def build_model_card(config: TransferConfig, about: Mapping[str, Any], name: str, licence: str | None) -> ModelCard:
    """Build the README.md of a model, with the metadata that the hub reads.

    Args:
        config: config of the network.
        about: facts about the model, as `collect_run_facts` returns them.
        name: name of the model: OWNER/NAME on the hub, or the name of a folder.
        licence: identifier from the hub's list, such as "apache-2.0"; any other becomes `other` with its name. None if
            no licence was chosen.
    """
    results = _build_eval_results(config, about)
    data = ModelCardData(
        library_name="close-transfer",
        pipeline_tag=get_task(config.task["name"]).pipeline_tag,
        tags=_build_tags(config, about),
        base_model=config.base_model["name"] if config.base_model and not config.base_model.get("folder") else None,
        model_name=name if results else None,
        eval_results=results or None,
        **format_licence(licence),
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{write_card_text(config, about, name, licence)}")


def _build_tags(config: TransferConfig, about: Mapping[str, Any]) -> list[str]:
    """Return the tags that a search on the hub finds the model by; none claims more than training supports."""
    tags = []
    if is_blind(config):
        tags.append("blind-baseline")
    elif is_trained_on_images(config, about):
        tags.append("trained-on-images")
    elif config.data_regime == "T0":
        tags.append("text-only-training")
    return [*tags, *find_encoder_class(config.encoder.get("config", {})).hub_tags, config.data_regime]


def _build_eval_results(config: TransferConfig, about: Mapping[str, Any]) -> list[EvalResult]:
    return [
        EvalResult(
            task_type=get_task(config.task["name"]).pipeline_tag, dataset_type=results["data"], dataset_name=f"{results['data']} {results['split']}, from {results['scene']}s",
            dataset_split=results["split"], metric_type=metric, metric_value=round(value, 2),
        )
        for results in about.get("results", [])
        for metric, value in results["metrics"].items()
        if "/" not in metric
    ]  # fmt: skip


def format_licence(licence: str | None) -> dict[str, Any]:
    """Return the card's metadata of a licence: the hub's identifier, or `other` with a name.

    Args:
        licence: licence as the user wrote it, in any case; None if none was chosen.
    """
    if licence is None or not licence.strip():
        return {}
    identifier = licence.strip().lower()
    if identifier in HUB_LICENCES:
        return {"license": identifier}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", identifier).strip("-") or "other"}
