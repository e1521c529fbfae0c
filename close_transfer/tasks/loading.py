"""Loads the examples of a task, from any dataset that provides their kind."""

from close_transfer.config.data import DataConfig
from close_transfer.core.errors import UserError
from close_transfer.data.example_kinds import find_datasets
from close_transfer.data.sources import LoadedSplit, load_examples
from close_transfer.tasks import TASKS, get_task


def load_task_examples(
    name: str, data: DataConfig, split: str, texts_needed: bool = True, images_needed: bool = False
) -> LoadedSplit:
    """Return the examples of one split for a task, by its name; other arguments are those of `load_examples`.

    Raises:
        UserError: if the data do not serve the task, naming the tasks that they serve and the data that would; and as
            `load_examples` does.
    """
    task = get_task(name)
    if task.reads.name not in data.provides:
        served = [name for name, other in TASKS.items() if other.reads.name in data.provides]
        raise UserError(
            f"task={task.name}: data={data.name} serves {', '.join(served)}; choose one of these, or one of "
            f"data={', '.join(find_datasets(task.reads))}"
        )
    return load_examples(data, task.reads, split, texts_needed, images_needed)
