from __future__ import annotations

import builtins
import copy
import inspect
import json
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
    """A stand-in for a `VideoTask`, of which an error needs the id alone."""

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
    errors.UnknownTaskEnd(TaskDetails(id="tv_1", status=TaskStatus("EXPIRED"))),
    *(kind("no", **ANSWERED) for kind in ANSWERS),
    *(kind("broken", **CALLED) for kind in TRANSPORTS),
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
    """Return the bases of each class, as the docstring of the module draws them."""
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


def test_the_docstring_draws_the_tree_of_all_errors() -> None:
    actual = {
        name: tuple(base.__name__ for base in value.__bases__)
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert drawn() == actual
    assert len(actual) == 28


def test_some_errors_can_be_caught_as_errors_of_python() -> None:
    """A wrong value is a ValueError, a timeout a TimeoutError, a missing price a LookupError."""
    for name, bases in drawn().items():
        for base in bases[1:]:
            assert issubclass(getattr(errors, name), getattr(builtins, base))


def test_the_errors_are_exported_by_the_root_and_by_their_module() -> None:
    public = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert set(errors.__all__) == public
    for name in errors.__all__:
        assert getattr(aivideomaker_async, name) is getattr(errors, name)
        assert name in aivideomaker_async.__all__


def test_every_class_has_an_example_here() -> None:
    """The tests below use these."""
    assert {type(error).__name__ for error in EXAMPLES} == {name for name in errors.__all__ if name != "FieldProblem"}


# --- every error -------------------------------------------------------------------------------------


def state(error: AIVideoMakerError) -> dict[str, object]:
    return {name: value for name, value in vars(error).items() if name != "task"}


@examples
def test_an_error_can_be_pickled(error: AIVideoMakerError) -> None:
    """With its text and all attributes, but for a handle, which belongs to one event loop."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        twin = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert twin.args == error.args
        assert vars(twin) == state(error)


@examples
def test_an_error_can_be_copied(error: AIVideoMakerError) -> None:
    """Test tools and task queues do that."""
    for twin in (copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert state(twin) == state(error)


@examples
def test_an_error_keeps_its_notes_when_it_is_copied_and_pickled(error: AIVideoMakerError) -> None:
    noted = copy.copy(error)
    noted.add_note("while generating clip 7")
    assert pickle.loads(pickle.dumps(noted)).__notes__ == ["while generating clip 7"]  # noqa: S301


@examples
def test_one_clause_catches_every_error_of_the_package(error: AIVideoMakerError) -> None:
    with pytest.raises(AIVideoMakerError) as caught:
        raise error
    assert caught.value is error
    assert str(error)
    assert "\n" not in str(error)


# --- texts and attributes ----------------------------------------------------------------------------

TEXTS = {
    "InvalidSpec": "TextToVideo: prompt='': must be a text; duration=7: must be 5 or 8",
    "UnknownTaskEnd": (
        "task tv_1 has ended in the unknown status 'EXPIRED': the service gave no reason. Whether it was charged shows "
        "in the account"
    ),
    "UnknownPrice": "the price table 2026-09 has no price for the model 'lv'",
    "APIError": "GET /p: 418 TEAPOT: no",
    "TransportError": "GET /p: broken",
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
    (error,) = (error for error in EXAMPLES if type(error).__name__ == name)
    assert str(error) == TEXTS[name]


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_api_error_carries_the_answer_and_the_request(kind: type[APIError]) -> None:
    error = kind("no", **ANSWERED)
    own = {"credits": None, "allowed": None} if kind is errors.BudgetExceeded else {}
    assert vars(error) == {"message": "no", "by_service": True, **ANSWERED, **own}
    bare = kind("no", status=500, method="PUT", path="/p")
    assert (bare.code, bare.retry_after) == (None, None)
    assert str(bare) == "PUT /p: 500: no"


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_only_a_failed_connection_promises_that_nothing_was_sent(kind: type[TransportError]) -> None:
    """With any other, the request may have reached the service, unless the error says otherwise."""
    error = kind("broken", **CALLED)
    assert error.sent is (kind is not errors.ConnectFailed)
    assert kind("broken", **CALLED, sent=False).sent is False
    assert (error.message, error.method, error.path) == ("broken", "GET", "/p")


def test_an_invalid_spec_carries_all_its_problems() -> None:
    """And the first one in attributes of its own."""
    first, second = FieldProblem("prompt", "''", "a text"), FieldProblem("duration", "7", "5 or 8")
    error = errors.InvalidSpec("TextToVideo", [first, second])
    assert (error.spec, error.field, error.value, error.allowed) == ("TextToVideo", "prompt", "''", "a text")
    assert error.problems == (first, second)
    assert str(second) == "duration=7: must be 5 or 8"


def test_a_failure_without_a_reason_says_so() -> None:
    error = errors.TaskFailed(TaskDetails(id="x", status=TaskStatus.FAILED))
    assert str(error) == "task x failed: the service gave no reason"
    assert error.details.id == "x"


def test_a_wait_timeout_without_a_status_says_so() -> None:
    error = errors.WaitTimeout(HANDLE, last_status=None, elapsed=1.0)
    assert "its status was never seen" in str(error)
    assert (error.task, error.last_status, error.elapsed) == (HANDLE, None, 1.0)


@pytest.mark.parametrize(
    ("last_status", "words"),
    [
        (TaskStatus.SUBMITTED, "may still be running and is paid: wait for it again"),
        (TaskStatus("QUEUED"), "may still be running and is paid"),
        (TaskStatus.COMPLETED, "has ended and is paid, and its video was not reported yet"),
        (TaskStatus.FAILED, "has ended without a video"),
        (TaskStatus.CANCEL, "has ended without a video"),
    ],
)
def test_the_words_of_a_wait_timeout_fit_the_last_status(last_status: TaskStatus, words: str) -> None:
    error = errors.WaitTimeout(HANDLE, last_status=last_status, elapsed=1.0)
    assert words in str(error)
    for one in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301
        assert one.task_id == HANDLE.id


def test_an_unknown_outcome_carries_the_idempotency_key_the_moment_and_the_candidates() -> None:
    error = errors.SubmitOutcomeUnknown("lost", model="t2v", idempotency_key="avm-1", began_at=NOW)
    assert (error.model, error.idempotency_key, error.began_at, error.candidates) == ("t2v", "avm-1", NOW, ())


def test_a_download_error_carries_the_age_of_the_file_or_its_sizes() -> None:
    assert errors.OutputExpired("gone", age=None).age is None
    cut = errors.IncompleteDownload("cut", received=5, expected=None)
    assert (cut.received, cut.expected, str(cut)) == (5, None, "cut")


# --- as JSON -----------------------------------------------------------------------------------------

REFUSED = {
    "reason": "no",
    "status": 418,
    "code": "TEAPOT",
    "method": "GET",
    "path": "/p",
    "retry_after": 1.5,
    "by_service": True,
}
MEASURED = {
    "task_id": "tv_1",
    "status": "FAILED",
    "created_at": None,
    "completed_at": None,
    "credits_charged": None,
    "credits_refunded": None,
    "list_value_cents": None,
}
PROBLEMS = [
    {"field": "prompt", "value": "''", "allowed": "a text"},
    {"field": "duration", "value": "7", "allowed": "5 or 8"},
]
FORMS: dict[str, dict[str, object]] = {
    "AIVideoMakerError": {},
    "ConfigurationError": {},
    "InvalidSpec": {"spec": "TextToVideo", "problems": PROBLEMS},
    "UnknownPrice": {"model": "lv", "revision": "2026-09"},
    "UnknownTaskEnd": {"task_id": "tv_1", "details": {**MEASURED, "status": "EXPIRED"}},
    **{kind.__name__: REFUSED for kind in ANSWERS},
    "BudgetExceeded": {**REFUSED, "credits": None, "allowed": None},
    **{
        kind.__name__: {"reason": "broken", "method": "GET", "path": "/p", "sent": kind is not errors.ConnectFailed}
        for kind in TRANSPORTS
    },
    "SubmitOutcomeUnknown": {
        "model": "t2v",
        "idempotency_key": "avm-1",
        "began_at": "2026-09-01T12:00:00Z",
        "candidates": [MEASURED],
        "trace": None,
    },
    "TaskFailed": {"task_id": "tv_1", "details": MEASURED},
    "TaskCancelled": {"task_id": "tv_1", "details": MEASURED},
    "WaitTimeout": {"task_id": "tv_1", "last_status": "PROGRESS", "elapsed": 3600.4},
    "DownloadError": {"status": None},
    "OutputExpired": {"status": None, "age": 90000.0},
    "IncompleteDownload": {"status": None, "received": 5, "expected": 10},
}


@examples
def test_the_json_form_of_an_error_is_stable(error: AIVideoMakerError) -> None:
    """People store it: a field may be added here, and none may be renamed or removed."""
    name = type(error).__name__
    assert error.to_dict() == {"type": name, "message": str(error), **FORMS[name]}
    assert json.loads(json.dumps(error.to_dict(), allow_nan=False)) == error.to_dict()


def test_the_json_form_of_an_error_shows_no_text_of_its_task() -> None:
    """The service may have put what came with the submit into any of them."""
    secret = "opensesame"
    told: dict[str, Any] = {"model": secret, "idempotency_key": secret, "input": {"image": secret}}
    output = TaskOutput(url=secret, message=secret, extra={"hook": secret})
    details = TaskDetails(id="x", status=TaskStatus.FAILED, output=output, extra={"key": secret}, **told)
    lost = errors.SubmitOutcomeUnknown("lost", model="t2v", idempotency_key="k", began_at=NOW, candidates=[details])
    hide: dict[str, Any] = {"hide": lambda text: text.replace(secret, "<secret>")}
    for error in (errors.TaskFailed(details, **hide), errors.UnknownTaskEnd(details, **hide), lost):
        assert secret not in json.dumps(error.to_dict())


def test_a_lost_submit_is_restored_from_its_json_form() -> None:
    """With the candidates, of which the form has no texts. What a later version has added is ignored."""
    trace = {
        "model": "t2v",
        "fields": {"prompt": "A cat"},
        "uploads": {"image": "01ff"},
        "sent_at": 1.5,
        "lost_at": 2.5,
        "is_time_known": True,
        "may_still_arrive": False,
        "assigned": ["ck1"],
    }
    error = errors.SubmitOutcomeUnknown(
        "lost", model="t2v", idempotency_key="avm-1", began_at=NOW, candidates=[DETAILS], trace=trace
    )
    twin = errors.SubmitOutcomeUnknown.from_dict({**error.to_dict(), "added": 1})
    shown = [TaskDetails(id=DETAILS.id, status=DETAILS.status)]
    assert vars(twin) == {**vars(error), "candidates": tuple(shown)}
    assert (str(twin), twin.args, twin.to_dict()) == (str(error), error.args, error.to_dict())
    assert str(pickle.loads(pickle.dumps(twin))) == str(error)  # noqa: S301


def test_the_json_form_of_another_error_is_no_lost_submit() -> None:
    with pytest.raises(ValueError, match=r"^SubmitOutcomeUnknown: idempotency_key is missing; began_at is missing$"):
        errors.SubmitOutcomeUnknown.from_dict(errors.UnknownPrice("lv", "2026-09").to_dict())
    form = errors.SubmitOutcomeUnknown("lost", model="t2v", idempotency_key="avm-1", began_at=NOW).to_dict()
    with pytest.raises(
        ValueError, match=r"^SubmitOutcomeUnknown: trace\.fields is missing; .*trace\.sent_at='x': must be a num"
    ):
        errors.SubmitOutcomeUnknown.from_dict({**form, "trace": {"model": "t2v", "sent_at": "x"}})


# --- foreign texts -----------------------------------------------------------------------------------

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
def test_a_foreign_text_stays_on_one_line_of_bounded_length(error: AIVideoMakerError) -> None:
    """Ids and reasons come from the service: they must not forge log lines or steer a terminal."""
    assert str(error).isprintable()
    assert len(str(error)) < 2000
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301


def test_the_reason_of_a_failure_is_shown_without_secrets() -> None:
    """Also without those that only the caller knows. The details have it as it came."""
    reason = "ak_0123456789abcdef: https://b.example/a.png?sig=SECRET, https://me.example/hooks/SECRET or opensesame"
    details = TaskDetails(id="x", status=TaskStatus.FAILED, output=TaskOutput(error=reason))
    error = errors.TaskFailed(details, hide=lambda text: text.replace("opensesame", "<secret>"))
    assert str(error) == "task x failed: <secret>: https://b.example/… https://me.example/… or <secret>"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
    assert error.details.failure == reason
    assert "SECRET" not in repr(error) + repr(vars(error))


def test_the_reason_of_a_failure_is_shown_without_an_image() -> None:
    """The details have it as it came."""
    reason = "bad image data:image/png;base64," + "iVBOR" * 10**5
    error = errors.TaskFailed(TaskDetails(id="x", status=TaskStatus.FAILED, output=TaskOutput(error=reason)))
    assert str(error) == "task x failed: bad image <data URI>"
    assert error.details.failure == reason
