"""Loader of a task's examples, from any dataset that provides their kind."""

from close_transfer.config.data import DataConfig
from close_transfer.core.errors import UserError
from close_transfer.data.example_kinds import find_datasets
from close_transfer.data.sources import LoadedSplit, load_examples
from close_transfer.tasks import TASKS, get_task


def load_task_examples(name: str, data: DataConfig, split: str, **needs: bool) -> LoadedSplit:
    """Return the examples of one split for the task of this name; `needs` are keyword arguments of `load_examples`.

    Raises:
        UserError: if the data do not serve the task; names the tasks that they serve and the data that would serve it.
            Also as `load_examples` does.
    """
    task = get_task(name)
    if task.reads.name not in data.provides:
        served = [name for name, other in TASKS.items() if other.reads.name in data.provides]
        raise UserError(
            f"task={task.name}: data={data.name} serves only {', '.join(served)}. Choose one of these, or one of "
            f"data={', '.join(find_datasets(task.reads))}"
        )
    return load_examples(data, task.reads, split, **needs)
