"""Markdown of docs/settings.md."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from close_transfer import cli
from close_transfer.cli import Command
from close_transfer.core.command_line import options
from docs.build_settings.tables import Setting, find_file, list_settings, read_with_parents
from docs.build_settings.value_types import list_models
from docs.build_settings.yaml_help import read_yaml
from studies import commands as studies

PAGE = Path(__file__).parents[1] / "settings.md"
FOLDERS = studies.FOLDERS

# Groups in the order of the page, each with the command whose schema has its types, and its summary.
GROUPS = {
    "task": ("train", "The task: its prompts, targets and scores."),
    "data": ("train", "The source of examples."),
    "clip": ("train", "The frozen encoder."),
    "adapter": (
        "train",
        "Changes to an embedding before the mapper gets it; give several in order, `adapter=[remove_mean,gaussian]`.",
    ),
    "mapper": ("train", "The network from an embedding to tokens of the language model."),
    "lm": ("train", "The language model."),
    "captioner": ("train_captioner", "Sizes of a captioner, and the training that fits them."),
    "recipe": (
        "synthesize_captions",
        "A style of synthetic text; docs/synthetic_text.md explains how to write a recipe.",
    ),
    "experiment": ("train", "Settings of published systems; each file has its command and its published numbers."),
    "study": ("run_study", "The systems that a study compares."),
}
# Settings that identify the option of a group; the option sets them.
_CHOSEN = ("task.name", "data.name", "mapper.name", "clip.kind", "lm.kind", "captioner.name")
_NO_TABLE = ("experiment", "study")  # their files set what the tables of the commands explain

BAR = "&#124;"

_HEAD = """# Settings

<!-- Made by `make settings` from configs/, studies/configs/ and the schemas; change those, not this page. -->

Give settings on the command line as `key=value`, for example:

```bash
python scripts/train_text_only.py task=vqa train.epochs=3
```

- A [group](#groups) is a folder of `configs/`, and its value names a file: `clip=open_clip` loads
  `configs/clip/open_clip.yaml`, whose settings are then `clip.model=...` and so on.
- A list is written `[a,b]`.
- `${lm.learning_rate}` is the value of another setting, and `${oc.env:NAME,default}` that of an environment variable.
- The column "allowed" gives the type or the values, and "default" the value if you leave the setting out. `must be given`
  marks a setting without a default.
"""


def build_page() -> str:
    """Return the whole page."""
    tables = (("Commands", cli.COMMANDS), ("Studies", studies.COMMANDS))
    lines = [_HEAD, "## Contents", ""]
    for title, commands in tables:
        links = ", ".join(
            f"[{name}](#{name})" for name, command in commands.items() if command.settings in (None, name)
        )
        lines.append(f"- {title}: {links}")
    lines += [f"- [Groups](#groups): {', '.join(f'[{name}](#{name})' for name in GROUPS)}", ""]
    for title, commands in tables:
        lines += [f"## {title}", ""]
        for name, command in commands.items():
            if command.settings in (None, name):
                lines += [*_write_command(command, commands.values()), ""]
    lines += ["## Groups", ""]
    for name in GROUPS:
        lines += [*_write_group(name), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def list_command_settings(command: Command) -> list[Setting]:
    """Return the settings of a command that are not of a group."""
    files = read_with_parents(find_file(command.config_name, FOLDERS), FOLDERS)
    if command.config_name == "run_study":  # settings of a study file; the default study has their help
        files.insert(0, read_yaml(find_file("study/shifts", FOLDERS)))
    own = files[-1].helps  # the command's settings come before those of shared fragments, and so does its help
    settings = list(list_settings(files, [command.load_schema()]))
    for row in settings:
        row.help = own.get(row.key) or row.help
    return sorted(settings, key=lambda row: row.key.removesuffix(".*") not in own)


def list_group_settings(group: str) -> list[Setting]:
    """Return the settings of all options of a group, each with the defaults by option."""
    command = (cli.COMMANDS | studies.COMMANDS)[GROUPS[group][0]]
    field = command.load_schema().model_fields[group]
    models = list_models(field.annotation)
    rows: dict[str, Setting] = {}
    if group == "recipe":
        settings = list_settings([read_yaml(find_file("fragments/recipe", FOLDERS))], models)
        return list(settings)
    for option in sort_options(group):
        for row in list_settings(read_with_parents(find_file(f"{group}/{option}", FOLDERS), FOLDERS), models, option):
            merged = rows.setdefault(row.key, row)
            merged.defaults |= row.defaults
            merged.help = merged.help or row.help
    return [row for row in rows.values() if f"{group}.{row.key}" not in _CHOSEN]


def sort_options(group: str) -> list[str]:
    """Return the options of a group; those that others extend come first, because the first help is printed."""
    names = options(group, FOLDERS)
    extended = {parent for name in names for parent in read_yaml(find_file(f"{group}/{name}", FOLDERS)).parents}
    return sorted(names, key=lambda name: name not in extended)


def _write_command(command: Command, commands: Iterable[Command]) -> Iterator[str]:
    scripts = [
        script for other in commands if command.config_name == other.config_name for script in other.list_scripts()
    ]
    yield f"### {command.name}"
    yield ""
    yield f"{command.summary} Scripts: {', '.join(f'`scripts/{script}.py`' for script in scripts)}."
    yield ""
    chosen = [
        (group, default, help)
        for file in reversed(read_with_parents(find_file(command.config_name, FOLDERS), FOLDERS))
        for group, (default, help) in file.groups.items()
    ]
    yield "| setting | allowed | default | what it does |"
    yield "|---|---|---|---|"
    for group, default, help in chosen:
        name, _, package = group.partition("@")
        yield _write_row(
            f"`{package or name}`" if not package else f"`{group}`",
            f"[{name}](#{name})",
            f"`{default}`",
            help or _group_help(name),
        )
    for row in list_command_settings(command):
        yield _write_row(f"`{row.key}`", row.type, row.defaults[""], row.help)


def _group_help(name: str) -> str:
    """Return the summary of a group in the form of a setting's help."""
    words = GROUPS[name][1].split("; ")[0].rstrip(".")
    return words[0].lower() + words[1:]


def _write_group(name: str) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    yield GROUPS[name][1]
    yield ""
    yield f"| `{name}=` | description |"
    yield "|---|---|"
    for option in options(name, FOLDERS):
        yield _write_row(f"`{option}`", read_yaml(find_file(f"{name}/{option}", FOLDERS)).summary)
    if name in _NO_TABLE:
        return
    yield ""
    yield "| setting | allowed | default | what it does |"
    yield "|---|---|---|---|"
    num_options = len(options(name, FOLDERS))
    for row in list_group_settings(name):
        yield _write_row(f"`{name}.{row.key}`", row.type, _format_defaults(row.defaults, num_options), row.help)


def _format_defaults(defaults: dict[str, str], num_options: int) -> str:
    """Return the default, with the options that have it if they differ."""
    if "" in defaults:
        return defaults[""]
    by_value: dict[str, list[str]] = {}
    for option, value in defaults.items():
        by_value.setdefault(value, []).append(option)
    if len(by_value) == 1:
        (value,) = by_value
        return value if len(defaults) == num_options or len(defaults) > 4 else f"{value} ({', '.join(defaults)})"
    common = max(by_value, key=lambda value: len(by_value[value]))
    others = [f"{value} for {', '.join(names)}" for value, names in by_value.items() if value != common]
    if len(others) > 4 or any(value == "see the file" for value in by_value):
        return "by option, see its file"
    return "; ".join([common if len(by_value[common]) > 2 else f"{common} for {', '.join(by_value[common])}", *others])


def _write_row(*cells: str) -> str:
    """Return a row of a table, with `<` and `|` escaped."""
    escaped = (cell if cell.startswith("`") else cell.replace("<", "&lt;") for cell in cells)
    return f"| {' | '.join(cell.replace('|', BAR) for cell in escaped)} |"
