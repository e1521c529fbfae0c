"""The page docs/settings.md, made from the YAML files and the schemas by ``make settings``."""
