"""Generator of docs/settings.md from the YAML files and the schemas, run by ``make settings``."""
