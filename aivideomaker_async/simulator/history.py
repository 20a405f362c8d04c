"""Old finished tasks, as an account has them that is in use: pure, and drawn from nothing but `rng`.

Their files are kept for 24 hours like all others, so most of them have expired.
"""

import json
import random
from collections.abc import Iterator, Mapping

from .contract import Order, Revision, read_order
from .kinds import Choice, Flag, Image, Kind, Number, Several
from .models import Model
from .timeline import COMPLETED, FAILED, Timeline
from .timing import Durations, span
from .world import PROBLEM, Task, World

DAYS = 30
"""How far back the oldest task goes, in simulated days."""

History = int | Mapping[str, int]
"""How many old tasks, of all models mixed or of each model."""

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


def old_tasks(history: History, revision: Revision, durations: Durations | None, world: World) -> Iterator[Task]:
    """Yield finished tasks, the oldest first, evenly spread over the last `DAYS` days.

    Raises `ValueError` for a number that is negative, or a model that the revision does not have.
    """
    rng = world.rng
    models = _models(history, revision, rng)
    ended = [-(DAYS * 86400.0) * (1 - (number + 0.5) / len(models)) for number in range(len(models))]
    tasks = [_task(world, _order(revision, name, rng), durations, at) for name, at in zip(models, ended, strict=True)]
    # What takes longer was submitted earlier than its neighbours.
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


def _task(world: World, order: Order, durations: Durations | None, ended: float) -> Task:
    queue, work = span(durations, order.model, order.seconds, world.rng)
    created = ended - queue - work
    end = FAILED if world.rng.random() < _FAILED_SHARE else COMPLETED
    return Task(
        id=world.new_id(),
        order=order,
        created=created,
        # Its end is told as it is: the sum of rounded parts could lie after the start.
        timeline=Timeline((*Timeline.planned(created, queue, work, end).steps[:2], (ended, end))),
        problem=PROBLEM,
        refunded=order.credits if end == FAILED else 0,
    )


def _order(revision: Revision, name: str, rng: random.Random) -> Order:
    model = revision.models[name]
    return read_order(revision, name, json.dumps(_input(model, rng)).encode())


def _input(model: Model, rng: random.Random) -> dict[str, object]:
    """Fill in what is required or has a default, and a prompt: never fields that exclude each other."""
    return {
        one.name: _value(one.kind, rng)
        for one in model.fields
        if one.required or one.default is not None or one.name == model.prompt_field
    }


def _value(kind: Kind, rng: random.Random) -> object:
    match kind:
        case Choice(allowed):
            return rng.choice(allowed)
        case Number(least, most):
            return rng.randint(least, most)
        case Flag():
            return rng.random() < 0.5
        case Several():
            return [_prompt(rng) for _ in range(2)]
        case Image():
            return f"https://images.example/{rng.randrange(16**12):012x}.jpg"
        case _:
            return _prompt(rng)


def _prompt(rng: random.Random) -> str:
    sentences = (f"{rng.choice(_SUBJECTS)} {rng.choice(_ACTIONS)} {rng.choice(_PLACES)}" for _ in range(2))
    return f"{', then '.join(sentences)}, {rng.choice(_STYLES)}".capitalize()
