"""Resolvers for YAML files: ${lookup:PATH,KEY,DEFAULT} is a value by name that has a default, as interpolations have not."""

from typing import Any

from omegaconf import DictConfig, OmegaConf


def _look_up(path: str, key: str, default: Any, *, _root_: DictConfig) -> Any:
    """Return the value of a key in the mapping at `path`, or the default if the mapping lacks the key."""
    mapping = OmegaConf.select(_root_, path)
    if not isinstance(mapping, DictConfig):
        raise ValueError(f"{path}={mapping} should be values by name; give +{path}.{key}=VALUE")
    return mapping.get(key, default)


def register_resolvers() -> None:
    """Make the resolvers known to OmegaConf; a second call changes nothing."""
    OmegaConf.register_new_resolver("lookup", _look_up, replace=True)
