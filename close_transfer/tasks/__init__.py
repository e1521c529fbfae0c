"""One file a task: how examples become prompts and targets, and how answers are scored."""

from close_transfer.config.components import TaskConfig
from close_transfer.tasks.captioning import Captioning, CaptioningMulti
from close_transfer.tasks.custom import Custom
from close_transfer.tasks.snli_ve import SnliVe
from close_transfer.tasks.task import PreparedExamples, Task
from close_transfer.tasks.visual_news import VisualNews
from close_transfer.tasks.vqa import Vqa, VqaE

__all__ = ["TASKS", "PreparedExamples", "Task", "build_task"]

_ALL: tuple[Task, ...] = (Captioning(), CaptioningMulti(), SnliVe(), Vqa(), VqaE(), VisualNews(), Custom())

# Each task as it is where nothing of it was set.
TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def build_task(config: TaskConfig) -> Task:
    """The task as a run was asked for."""
    match config.name:
        case "captioning":
            return Captioning(config.prompt, config.language)
        case "captioning-multi":
            return CaptioningMulti(config.prompt, config.language)
        case "custom":
            return Custom(config.metric, config.labels, config.language)
        case _:
            return TASKS[config.name]
