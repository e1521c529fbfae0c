"""One file a task: how examples become prompts and targets, and how answers are scored."""

from close_transfer.tasks.captioning import Captioning, CaptioningMulti
from close_transfer.tasks.snli_ve import SnliVe
from close_transfer.tasks.task import Shaped, Task
from close_transfer.tasks.visual_news import VisualNews
from close_transfer.tasks.vqa import Vqa, VqaE

__all__ = ["TASKS", "Shaped", "Task"]

_ALL: tuple[Task, ...] = (Captioning(), CaptioningMulti(), SnliVe(), Vqa(), VqaE(), VisualNews())

TASKS: dict[str, Task] = {task.name: task for task in _ALL}
