"""One file a task: how examples become prompts and targets, and how answers are scored."""

from close_transfer.tasks.captioning import Captioning, CaptioningMulti
from close_transfer.tasks.snli_ve import SnliVe
from close_transfer.tasks.task import Shaped, Task
from close_transfer.tasks.vqa import Vqa

__all__ = ["TASKS", "Shaped", "Task"]

_ALL: tuple[Task, ...] = (Captioning(), CaptioningMulti(), SnliVe(), Vqa())

TASKS: dict[str, Task] = {task.name: task for task in _ALL}
