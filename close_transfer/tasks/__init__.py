"""Tasks, one file each: prompts and targets from examples, and scores of answers."""

from close_transfer.config.components import TaskConfig
from close_transfer.core.errors import UserError
from close_transfer.data.example_kinds import ExampleKind
from close_transfer.tasks.captioning import Captioning, CaptioningMulti
from close_transfer.tasks.custom import Custom
from close_transfer.tasks.snli_ve import SnliVe
from close_transfer.tasks.task import PreparedExamples, Task
from close_transfer.tasks.visual_news import VisualNews
from close_transfer.tasks.vqa import Vqa, VqaE

__all__ = ["TASKS", "PreparedExamples", "Task", "build_task", "get_task", "list_tasks"]

_CLASSES: tuple[type[Task], ...] = (
    Captioning,
    CaptioningMulti,
    SnliVe,
    Vqa,
    VqaE,
    VisualNews,
    Custom,
)

# Classes and not instances, because labels and scores depend on a run's settings; `build_task` takes them.
TASKS: dict[str, type[Task]] = {task.name: task for task in _CLASSES}


def get_task(name: str, setting: str = "task") -> type[Task]:
    """Return the class of a task.

    Args:
        name: name of the task in `task=`.
        setting: the setting that gave the name, for the message.

    Raises:
        UserError: if there is no such task.
    """
    if name not in TASKS:
        raise UserError(
            f"{setting}={name}: there is no such task. Use one of {', '.join(TASKS)}, or register a new one in "
            "close_transfer/tasks/__init__.py (docs/extending/adding_a_task.md)"
        )
    return TASKS[name]


def build_task(config: TaskConfig) -> Task:
    """Return the task with a run's settings.

    Raises:
        UserError: if there is no such task, or it cannot be built with these settings.
    """
    task = get_task(config.name)
    for setting in config.own_settings:
        if setting not in task.settings:
            owners = [name for name, other in TASKS.items() if setting in other.settings]
            raise UserError(f"task.{setting} only applies to task={' and task='.join(owners)}. Leave it out")
    return task(**config.own_settings)


def list_tasks(kind: ExampleKind) -> list[str]:
    """Return the names of the tasks that read a kind of examples."""
    return [name for name, task in TASKS.items() if task.reads == kind]
