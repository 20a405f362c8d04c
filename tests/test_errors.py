from __future__ import annotations

import builtins
import copy
import inspect
import pickle
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

import aivideomaker_async
from aivideomaker_async import TaskDetails, TaskOutput, TaskStatus, errors
from aivideomaker_async.errors import AIVideoMakerError, APIError, FieldProblem, TransportError

if TYPE_CHECKING:
    from aivideomaker_async import VideoTask

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
DETAILS = TaskDetails(id="tv_1", status=TaskStatus.FAILED, output=TaskOutput(error="blocked"), extra={"a": [1]})
ANSWERED: dict[str, Any] = {"status": 418, "method": "GET", "path": "/p", "code": "TEAPOT", "retry_after": 1.5}
CALLED: dict[str, Any] = {"method": "GET", "path": "/p"}
ANSWERS: list[type[APIError]] = [APIError, *APIError.__subclasses__()]
TRANSPORTS: list[type[TransportError]] = [
    TransportError,
    *(kind for kind in TransportError.__subclasses__() if kind.__module__ == errors.__name__),
]


class Handle:
    """Stands for a `VideoTask`: of the handle, an error needs the id."""

    id = "tv_1"

    def __reduce__(self) -> str:
        raise TypeError("a handle lives in one event loop")


HANDLE = cast("VideoTask", Handle())

EXAMPLES: list[AIVideoMakerError] = [
    AIVideoMakerError("any"),
    errors.ConfigurationError("no API key"),
    errors.InvalidSpec(
        "TextToVideo", [FieldProblem("prompt", "''", "a text"), FieldProblem("duration", "7", "5 or 8")]
    ),
    errors.UnknownPrice("lv", "2026-09"),
    *(kind("told", **ANSWERED) for kind in ANSWERS),
    *(kind("told", **CALLED) for kind in TRANSPORTS),
    errors.SubmitOutcomeUnknown(
        "the connection broke", model="t2v", idempotency_key="avm-1", began_at=NOW, candidates=[DETAILS]
    ),
    errors.TaskFailed(DETAILS),
    errors.TaskCancelled(DETAILS),
    errors.WaitTimeout(HANDLE, last_status=TaskStatus.PROGRESS, elapsed=3600.4),
    errors.DownloadError("disk full"),
    errors.OutputExpired("gone", age=timedelta(hours=25)),
    errors.IncompleteDownload("cut off", received=5, expected=10),
]
examples = pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)


# --- the tree ----------------------------------------------------------------------------------------


def drawn() -> dict[str, tuple[str, ...]]:
    """The bases of each class, as the docstring of the module draws them."""
    bases: dict[str, tuple[str, ...]] = {}
    above: list[tuple[int, str]] = []
    for line in inspect.cleandoc(errors.__doc__ or "").splitlines():
        name, _, rest = line.lstrip(" │├└─").partition(" ")
        depth = len(line) - len(line.lstrip(" │├└─"))
        if name == "AIVideoMakerError" or (above and line.lstrip().startswith(("├", "└", "│"))):
            while above and above[-1][0] >= depth:
                above.pop()
            second = (rest[1 : rest.index(")")],) if rest.startswith("(") else ()
            bases[name] = ((above[-1][1] if above else "Exception"), *second)
            above.append((depth, name))
    return bases


def test_the_tree_is_as_it_is_drawn() -> None:
    """Every class hangs where the docstring shows it, and no class is missing in either."""
    actual = {
        name: tuple(base.__name__ for base in value.__bases__)
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert drawn() == actual
    assert len(actual) == 27


def test_whoever_catches_the_usual_errors_of_python_catches_ours() -> None:
    """A wrong value is a ValueError, a timeout a TimeoutError, a missing price a LookupError."""
    for name, bases in drawn().items():
        for base in bases[1:]:
            assert issubclass(getattr(errors, name), getattr(builtins, base))


def test_every_error_can_be_imported_from_the_root_and_from_errors() -> None:
    """And nothing else is exported."""
    public = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert set(errors.__all__) == public
    for name in errors.__all__:
        assert getattr(aivideomaker_async, name) is getattr(errors, name)
        assert name in aivideomaker_async.__all__


def test_every_class_has_an_example_here() -> None:
    """So that what follows holds for all of them."""
    assert {type(error).__name__ for error in EXAMPLES} == {name for name in errors.__all__ if name != "FieldProblem"}


# --- every error -------------------------------------------------------------------------------------


def state(error: AIVideoMakerError) -> dict[str, object]:
    return {name: value for name, value in vars(error).items() if name != "task"}


@examples
def test_an_error_survives_pickle(error: AIVideoMakerError) -> None:
    """With its text and everything that it carries, but for a handle, which lives in one event loop."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        twin = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert twin.args == error.args
        assert vars(twin) == state(error)


@examples
def test_an_error_survives_a_copy(error: AIVideoMakerError) -> None:
    """As test tools and task queues make them."""
    for twin in (copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert state(twin) == state(error)


@examples
def test_an_error_keeps_notes_on_its_way(error: AIVideoMakerError) -> None:
    """Those that users add."""
    noted = copy.copy(error)
    noted.add_note("while generating clip 7")
    assert pickle.loads(pickle.dumps(noted)).__notes__ == ["while generating clip 7"]  # noqa: S301


@examples
def test_an_error_can_be_raised_and_caught_as_ours(error: AIVideoMakerError) -> None:
    """One clause catches all that this package raises."""
    with pytest.raises(AIVideoMakerError) as caught:
        raise error
    assert caught.value is error
    assert str(error)
    assert "\n" not in str(error)


# --- what each one tells -----------------------------------------------------------------------------

TEXTS = {
    "InvalidSpec": "TextToVideo: prompt='': must be a text; duration=7: must be 5 or 8",
    "UnknownPrice": "the price table 2026-09 has no price for the model 'lv'",
    "APIError": "GET /p: 418 TEAPOT: told",
    "TransportError": "GET /p: told",
    "TaskFailed": "task tv_1 failed: blocked",
    "TaskCancelled": "task tv_1 was cancelled",
    "WaitTimeout": (
        "gave up after 3600 s on task tv_1 (last seen in PROGRESS). It may still be running and is paid: "
        "wait for it again with client.task('tv_1'), do not submit it again"
    ),
    "SubmitOutcomeUnknown": (
        "the connection broke; the outcome of this t2v submit is unknown (idempotency key avm-1; 1 listed task may "
        "be it): it may have been created and charged, so do not submit it again before client.reconcile(error)"
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_says_what_happened_and_what_to_do(name: str) -> None:
    """In one line that stands for itself in a log."""
    (error,) = (error for error in EXAMPLES if type(error).__name__ == name)
    assert str(error) == TEXTS[name]


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_that_is_an_error_tells_all_about_it(kind: type[APIError]) -> None:
    """What the service said, with which status and code, to which request, and when to ask again."""
    error = kind("told", **ANSWERED)
    own = {"credits": None, "allowed": None} if kind is errors.BudgetExceeded else {}
    assert vars(error) == {"message": "told", **ANSWERED, **own}
    bare = kind("told", status=500, method="PUT", path="/p")
    assert (bare.code, bare.retry_after) == (None, None)
    assert str(bare) == "PUT /p: 500: told"


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_only_a_failed_connection_promises_that_nothing_was_sent(kind: type[TransportError]) -> None:
    """Everything else may have reached the service, unless it says otherwise."""
    error = kind("told", **CALLED)
    assert error.sent is (kind is not errors.ConnectFailed)
    assert kind("told", **CALLED, sent=False).sent is False
    assert (error.message, error.method, error.path) == ("told", "GET", "/p")


def test_a_wrong_spec_tells_its_first_problem_and_all() -> None:
    """The first in the attributes, all in `problems`."""
    first, second = FieldProblem("prompt", "''", "a text"), FieldProblem("duration", "7", "5 or 8")
    error = errors.InvalidSpec("TextToVideo", [first, second])
    assert (error.spec, error.field, error.value, error.allowed) == ("TextToVideo", "prompt", "''", "a text")
    assert error.problems == (first, second)
    assert str(second) == "duration=7: must be 5 or 8"


def test_a_failure_without_a_reason_says_so() -> None:
    """The service does not always give one."""
    error = errors.TaskFailed(TaskDetails(id="x", status=TaskStatus.FAILED))
    assert str(error) == "task x failed: the service gave no reason"
    assert error.details.id == "x"


def test_a_wait_that_saw_nothing_says_so() -> None:
    """No status is invented."""
    error = errors.WaitTimeout(HANDLE, last_status=None, elapsed=1.0)
    assert "its status was never seen" in str(error)
    assert (error.task, error.last_status, error.elapsed) == (HANDLE, None, 1.0)


def test_an_unknown_outcome_carries_what_is_needed_to_look_it_up() -> None:
    """The key, the moment and the tasks that it may be."""
    error = errors.SubmitOutcomeUnknown("lost", model="t2v", idempotency_key="avm-1", began_at=NOW)
    assert (error.model, error.idempotency_key, error.began_at, error.candidates) == ("t2v", "avm-1", NOW, ())


def test_a_download_error_tells_what_is_known() -> None:
    """How old the file was, or how much of it came."""
    assert errors.OutputExpired("gone", age=None).age is None
    cut = errors.IncompleteDownload("cut", received=5, expected=None)
    assert (cut.received, cut.expected, str(cut)) == (5, None, "cut")


# --- texts of others ---------------------------------------------------------------------------------

EVIL = "x\nERROR root: all is lost\x1b[2J\ud800"


@pytest.mark.parametrize(
    "error",
    [
        errors.TaskFailed(TaskDetails(id=EVIL, status=TaskStatus.FAILED, output=TaskOutput(error=EVIL * 10**5))),
        errors.TaskFailed(TaskDetails(id="x", status=TaskStatus.FAILED, output=TaskOutput(message=EVIL))),
        errors.TaskCancelled(TaskDetails(id=EVIL * 10**4, status=TaskStatus.CANCEL)),
        errors.WaitTimeout(cast("VideoTask", type("Odd", (), {"id": EVIL * 10**4})()), last_status=None, elapsed=1.0),
        errors.ServerError(EVIL, **ANSWERED),
        errors.BadResponse(EVIL, **CALLED),
        errors.DownloadError(f"the video of task {EVIL} is gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_text_of_somebody_else_breaks_the_line(error: AIVideoMakerError) -> None:
    """Ids and reasons come from the service; they make up no log lines, steer no terminal, and end somewhere."""
    assert str(error).isprintable()
    assert len(str(error)) < 2000
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301


def test_a_reason_shows_nothing_private() -> None:
    """Also what only those know who raise it; the details have it all."""
    reason = "ak_0123456789abcdef: https://b.example/a.png?sig=SECRET, https://me.example/hooks/SECRET or opensesame"
    details = TaskDetails(id="x", status=TaskStatus.FAILED, output=TaskOutput(error=reason))
    error = errors.TaskFailed(details, hide=lambda text: text.replace("opensesame", "<secret>"))
    assert str(error) == "task x failed: <secret>: https://b.example/… https://me.example/… or <secret>"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
    assert error.details.failure == reason
    assert "SECRET" not in repr(error) + repr(vars(error))


def test_a_reason_shows_no_image() -> None:
    """Some services quote what they do not like; the details have it all."""
    reason = "bad image data:image/png;base64," + "iVBOR" * 10**5
    error = errors.TaskFailed(TaskDetails(id="x", status=TaskStatus.FAILED, output=TaskOutput(error=reason)))
    assert str(error) == "task x failed: bad image <data URI>"
    assert error.details.failure == reason
