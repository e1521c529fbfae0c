"""Settings for tests, with the defaults of the YAML files."""

from typing import Any

import yaml
from pydantic import TypeAdapter

from close_transfer.config.components import EmbeddingCacheConfig, OpenClipConfig
from close_transfer.core.command_line import CONFIGS
from textgen.config import FilterSettings, KeywordSettings, RecipeSettings


def read_settings(file: str) -> dict[str, Any]:
    """Return the values of a YAML file of configs/, including those of the files that it extends."""
    path = CONFIGS / file
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    merged: dict[str, Any] = {}
    for entry in values.pop("defaults", []):
        if isinstance(entry, str) and entry != "_self_" and "@recipe" not in entry:
            name = entry.partition("@")[0]
            sibling = path.parent / f"{name}.yaml"
            parent = sibling if sibling.is_file() else CONFIGS / f"{name.removeprefix('/')}.yaml"
            merged |= read_settings(str(parent.relative_to(CONFIGS)))
    return merged | values


def make_settings(schema: Any, file: str, part: str = "", **changed: Any) -> Any:
    """Return settings of a schema: a YAML file of configs/, or a part of it, with changes."""
    values = read_settings(file)
    values = values[part] if part else {key: value for key, value in values.items() if key != "hydra"}
    for key, value in changed.items():
        merges = isinstance(value, dict) and isinstance(values.get(key), dict)
        values[key] = {**values[key], **value} if merges else value
    return TypeAdapter(schema).validate_python(values)


def make_recipe(**changed: Any) -> RecipeSettings:
    """Return a recipe of one field, `text`, with changes."""
    given = {"name": "own", "template": "own.j2", "fields": {"text": {}}, **changed}
    return make_settings(RecipeSettings, "fragments/recipe.yaml", **given)


def make_filters(**changed: Any) -> FilterSettings:
    """Return the filters of a corpus, with changes."""
    return make_settings(FilterSettings, "synthesize_captions.yaml", "filters", **changed)


def make_keywords(**changed: Any) -> KeywordSettings:
    """Return the settings of keywords, with changes."""
    return make_settings(KeywordSettings, "synthesize_captions.yaml", "keywords", **changed)


def make_encoder(**changed: Any) -> OpenClipConfig:
    """Return Picturebook's encoder, with changes."""
    given = {"model": "picturebook", "pretrained": None, **changed}
    return make_settings(OpenClipConfig, "clip/open_clip.yaml", **given)


def make_embedding_cache(folder: Any, **changed: Any) -> EmbeddingCacheConfig:
    """Return a cache in a folder, with changes."""
    given = {"folder": str(folder), **changed}
    return make_settings(EmbeddingCacheConfig, "fragments/embedding_cache.yaml", "embedding_cache", **given)
