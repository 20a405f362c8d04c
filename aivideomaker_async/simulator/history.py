"""Finished tasks from before the start, as an account in use has them. Pure: randomness comes from the account's `rng`.

Their files are kept for 24 hours like all others, so most of them have expired.
"""

import json
import random
from collections.abc import Iterator, Mapping

from .contract import Revision, VideoOrder, read_order
from .field_types import BooleanType, ChoiceType, FieldType, ImageType, ListType, NumberType
from .models import Model
from .state import COMPLETED, DEFAULT_FAILURE, FAILED, AccountState, Task, Timeline
from .timing import Durations, span

HISTORY_DAYS = 30
"""The age of the oldest task, in simulated days."""

History = int | Mapping[str, int]
"""A number of old tasks, of all models mixed or of each model."""

_FAILED_SHARE = 0.03
_SUBJECTS = ("a paper boat", "an old lighthouse", "two street musicians", "a grey cat", "a glass city", "a wild horse")
_ACTIONS = ("drifts past the camera", "turns slowly in the wind", "waits for the first light", "comes into focus")
_PLACES = ("on a quiet pond", "above the harbour", "in a narrow alley", "at the edge of a forest", "in deep snow")
_STYLES = (
    "cinematic light with long shadows and a little haze",
    "hand-held camera, shallow depth of field, soft grain",
    "slow dolly shot, warm colours of the late afternoon",
    "wide angle, muted palette, gentle rain on the lens",
)


def old_tasks(history: History, revision: Revision, durations: Durations | None, state: AccountState) -> Iterator[Task]:
    """Yield finished tasks by the time of their creation. Their ends are evenly spread over the last `HISTORY_DAYS`.

    Raises `ValueError` for a negative number, or a model that the revision does not have.
    """
    rng = state.rng
    models = _models(history, revision, rng)
    ends = [-(HISTORY_DAYS * 86400.0) * (1 - (number + 0.5) / len(models)) for number in range(len(models))]
    tasks = [_task(state, _order(revision, name, rng), durations, at) for name, at in zip(models, ends, strict=True)]
    # A task that took longer than its neighbours was submitted before them.
    yield from sorted(tasks, key=lambda task: task.created)


def _models(history: History, revision: Revision, rng: random.Random) -> list[str]:
    counts = history if isinstance(history, Mapping) else {"": history}
    if min(counts.values(), default=0) < 0:
        raise ValueError(f"history must be no negative number of tasks, got {history!r}")
    if not isinstance(history, Mapping):
        return rng.choices(sorted(revision.models), k=history)
    if unknown := sorted(set(history) - set(revision.models)):
        raise ValueError(f"history must be of the models {', '.join(revision.models)}, got {', '.join(unknown)}")
    models = [name for name, count in history.items() for _ in range(count)]
    rng.shuffle(models)
    return models


def _task(state: AccountState, order: VideoOrder, durations: Durations | None, ended: float) -> Task:
    queue, work = span(durations, order.model, order.seconds, state.rng)
    created = ended - queue - work
    end = FAILED if state.rng.random() < _FAILED_SHARE else COMPLETED
    return Task(
        id=state.new_id(),
        order=order,
        created=created,
        # The end is given, not planned: a sum of rounded parts could lie after the start.
        timeline=Timeline((*Timeline.planned(created, queue, work, end).steps[:2], (ended, end))),
        failure=DEFAULT_FAILURE,
        refunded=order.credits if end == FAILED else 0,
    )


def _order(revision: Revision, name: str, rng: random.Random) -> VideoOrder:
    model = revision.models[name]
    return read_order(revision, name, json.dumps(_input(model, rng)).encode())


def _input(model: Model, rng: random.Random) -> dict[str, object]:
    """Fill in the prompt and all fields that are required or have a default. None of these exclude each other."""
    return {
        one.name: _value(one.type, rng)
        for one in model.fields
        if one.required or one.default is not None or one.name == model.prompt_field
    }


def _value(field_type: FieldType, rng: random.Random) -> object:
    match field_type:
        case ChoiceType(allowed):
            return rng.choice(allowed)
        case NumberType(least, most):
            return rng.randint(least, most)
        case BooleanType():
            return rng.random() < 0.5
        case ListType():
            return [_prompt(rng) for _ in range(2)]
        case ImageType():
            return f"https://images.example/{rng.randrange(16**12):012x}.jpg"
        case _:
            return _prompt(rng)


def _prompt(rng: random.Random) -> str:
    sentences = (f"{rng.choice(_SUBJECTS)} {rng.choice(_ACTIONS)} {rng.choice(_PLACES)}" for _ in range(2))
    return f"{', then '.join(sentences)}, {rng.choice(_STYLES)}".capitalize()
