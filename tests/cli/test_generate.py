"""`generate`: what is sent, what is shown, and how it ends."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from attrs import evolve, frozen

from aivideomaker_async import (
    AIVideoMaker,
    ImageInput,
    InsufficientCredits,
    TextToVideo,
    UnknownPrice,
    VideoSpec,
    VideoTask,
)
from aivideomaker_async._files.part_file import PartFile
from aivideomaker_async._files.versions import Version, identify
from aivideomaker_async.simulator.gallery import BUNDLED_CLIP
from aivideomaker_async.simulator.pytest_plugin import SimulatorFactory
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from aivideomaker_async.specs import SPECS
from tests.cli.conftest import T2V, Command, Terminal, When, finish_all, polled


def test_json_tells_each_change_and_the_result(cli: Command, slow_service: ThreadedSimulator, when: When) -> None:
    """The documented lines in their order, with exactly the documented fields."""
    service = slow_service
    when(polled(service), finish_all(service))
    ran = cli(*T2V, "--json")
    assert ran.code == 0
    submitted, *changes, result = ran.events
    (task,) = service.tasks.values()
    assert submitted == {
        "event": "submitted",
        "task_id": task.id,
        "model": "t2v",
        "idempotency_key": submitted["idempotency_key"],
        "credits_estimated": 5,
        "credits_quoted": None,
        "credits_charged": None,
    }
    assert submitted["idempotency_key"].startswith("avm-")
    assert [(one["status"], one["previous"]) for one in changes] == [
        ("SUBMITTED", None),
        ("PROGRESS", "SUBMITTED"),
        ("COMPLETED", "PROGRESS"),
    ]
    assert all(set(one) == {"event", "task_id", "status", "previous", "at"} for one in changes)
    assert all(one["event"] == "status" and one["at"].endswith("+00:00") for one in changes)
    assert result["event"] == "result"
    assert result["task_id"] == task.id
    assert result["url"] == f"{service.url}/videos/{task.id}.mp4"
    assert (result["model"], result["status"], result["path"], result["bytes"]) == ("t2v", "COMPLETED", None, None)
    assert set(result) == {
        *("event", "task_id", "model", "status", "url", "path", "bytes", "expires_at", "credits_charged")
    }


def test_a_person_gets_the_url_on_stdout_and_the_rest_on_stderr(
    cli: Command, slow_service: ThreadedSimulator, when: When
) -> None:
    """Standard output can be piped on; the price stands before the changes."""
    service = slow_service
    when(polled(service), finish_all(service))
    ran = cli(*T2V)
    (task,) = service.tasks.values()
    assert (ran.code, ran.out) == (0, f"{service.url}/videos/{task.id}.mp4\n")
    price, *changes, kept = ran.err.splitlines()
    assert price == "price: about 5 credits (USD 0.05) by the table of 2026-03"
    assert [line.split() for line in changes] == [
        ["t2v", task.id, status, "0:00"] for status in ("SUBMITTED", "PROGRESS", "COMPLETED")
    ]
    assert "24 hours" in kept
    assert "\x1b" not in ran.err


def test_output_saves_the_video(cli: Command, service: ThreadedSimulator, tmp_path: Path) -> None:
    """The path is the result, and the file is the service's."""
    target = tmp_path / "sunset.mp4"
    ran = cli(*T2V, "--output", str(target))
    assert (ran.code, ran.out) == (0, f"{target}\n")
    assert target.read_bytes() == BUNDLED_CLIP.read_bytes()
    assert f"saved, {BUNDLED_CLIP.stat().st_size / 1000:.0f} kB" in ran.err


def test_a_download_that_broke_off_is_taken_up_by_the_command_that_is_told(
    cli: Command, service: ThreadedSimulator, tmp_path: Path
) -> None:
    """Only what is missing is asked for."""
    assert cli(*T2V).code == 0
    (task,) = service.tasks.values()
    clip = BUNDLED_CLIP.read_bytes()
    url, target = f"{service.url}/videos/{task.id}.mp4", tmp_path / "sunset.mp4"
    part = PartFile(target, overwrite=False, identity=identify(url, task.id))
    part.open()
    part.begin(Version(etag=f'"{hashlib.sha256(clip).hexdigest()[:32]}"', total=len(clip)))
    part.write(clip[:1000])
    part.give_up()
    result = cli("watch", task.id, "--output", str(target), "--json").events[-1]
    assert (result["path"], result["bytes"]) == (str(target), len(clip))
    assert target.read_bytes() == clip
    assert [arrival.status for arrival in service.requests if arrival.path.endswith(".mp4")] == [206]
    assert [path.name for path in tmp_path.iterdir()] == ["sunset.mp4"]


def test_json_tells_the_path_and_the_size(cli: Command, service: ThreadedSimulator, tmp_path: Path) -> None:
    target = tmp_path / "sunset.mp4"
    result = cli(*T2V, "--output", str(target), "--json").events[-1]
    assert (result["path"], result["bytes"]) == (str(target), BUNDLED_CLIP.stat().st_size)


BODIES: dict[str, tuple[tuple[str, ...], dict[str, object]]] = {
    "t2v": (
        ("--prompt", "a", "--aspect-ratio", "9:16", "--duration", "8"),
        {"prompt": "a", "aspectRatio": "9:16", "duration": "8"},
    ),
    "i2v": (("--image", "IMAGE", "--duration", "5"), {"duration": "5"}),
    "lv": (("--image", "IMAGE", "--prompt", "a", "--prompt", "b c"), {"prompt": ["a", "b c"]}),
    "t2v_v3": (
        ("--prompt=-a", "--aspect-ratio", "1:1", "--duration", "20"),
        {"prompt": "-a", "aspectRatio": "1:1", "duration": "20"},
    ),
    "i2v_v3": (("--image", "IMAGE", "--duration", "15", "--prompt", "none"), {"duration": "15", "prompt": "none"}),
}


@pytest.mark.parametrize("model", BODIES)
def test_every_model_is_a_subcommand(cli: Command, service: ThreadedSimulator, image: str, model: str) -> None:
    """What arrives at the service is what was given; what was not given is left out."""
    options, expected = BODIES[model]
    ran = cli("generate", model, *(image if one == "IMAGE" else one for one in options))
    assert ran.code == 0, ran.err
    (task,) = service.tasks.values()
    assert task.model == model
    assert {name: value for name, value in task.input.items() if name != "image" and value is not None} == expected
    assert ("image" in task.input) == ("IMAGE" in options)


def test_prompts_may_follow_each_other(cli: Command, service: ThreadedSimulator, image: str) -> None:
    assert cli("generate", "lv", "--prompts", "a", "b", "--image", image).code == 0
    (task,) = service.tasks.values()
    assert task.input["prompt"] == ["a", "b"]


def test_an_image_is_a_url_a_data_uri_or_a_file(cli: Command, service: ThreadedSimulator, image: str) -> None:
    """A URL travels as it is; the other two end up in the service's storage as the same file."""
    uri = "data:image/png;base64," + base64.b64encode(Path(image).read_bytes()).decode()
    for given in ("HTTPS://example.com/a.png", uri, image):
        assert cli("generate", "i2v", "--duration", "5", "--image", given).code == 0
    url, from_uri, from_file = (task.input["image"] for task in service.tasks.values())
    assert url == "HTTPS://example.com/a.png"
    assert from_uri == from_file
    assert str(from_uri).startswith(service.url)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("--duration", "7"), "TextToVideo: duration=7: must be 5 or 8 (seconds)"),
        (("--aspect-ratio", "4:3"), "TextToVideo: aspect_ratio='4:3': must be '16:9' or '9:16' or '1:1'"),
        (("--prompt", " "), "TextToVideo: prompt=' ': must be a text that is not blank"),
        (("--duration", "5.4"), 'Invalid value for --duration: unable to convert "5.4" into int.'),
        (("--duration", "long"), 'Invalid value for --duration: unable to convert "long" into int.'),
        (("--extra", "prompt=1"), "extra['prompt']=1: must be a wire field that the spec does not set itself"),
        (("--extra", "mode=strict"), "--extra mode=strict: 'strict' is not JSON"),
        (("--extra", "mode"), "--extra mode: must be KEY=JSON"),
        (("--timeout", "0"), "--timeout"),
        (("--timeout", "nan"), "--timeout"),
        (("--colour", "red"), "--colour"),
        (("--output", "."), "--output .: this is a folder"),
        (("--output", "no/such/folder.mp4"), "there is no folder no/such"),
    ],
)
def test_wrong_values_are_a_usage_error(
    cli: Command, service: ThreadedSimulator, changed: tuple[str, str], told: str
) -> None:
    """The message names what is wrong, in the SDK's words where it is the SDK's rule. Nothing is sent."""
    options = dict(zip(T2V[2::2], T2V[3::2], strict=True)) | {changed[0]: changed[1]}
    ran = cli("generate", "t2v", *(word for pair in options.items() for word in pair))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert told in ran.err
    assert len(ran.err.splitlines()) == 1
    assert service.requests == []


ENCODED = base64.b64encode(bytes(range(256))).decode()
SIGNED = "https://b.example/a.png?X-Signature=Sg_Qw8Er5Ty2Ui9Op"


@pytest.mark.parametrize("flags", [(), ("--verbose",), ("--json",)], ids=str)
@pytest.mark.parametrize(
    "words",
    [
        ("generate", "t2v", "--extra", "image={}"),
        ("generate", "t2v", "--extra", "{}"),
        ("generate", "i2v", "--duration", "{}"),
        ("generate", "i2v", "--duration", "5", "--image", "https://b.example/a.png", "{}"),
        ("generate", "--image={}", "i2v"),
        ("generate", "i2v", "--imagee={}"),
        ("generate", "{}"),
        ("{}",),
        ("simulate", "--fault", "{}"),
        ("simulate", "--fault", "status:body=x,{}"),
    ],
    ids=str,
)
def test_no_argument_in_the_wrong_place_is_shown_whole(
    cli: Command, service: ThreadedSimulator, words: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    """An image or a signed address may be longer than a screen, and is nobody's business who reads the log."""
    for image in (f"data:image/png;base64,{ENCODED}", ENCODED, SIGNED):
        ran = cli(*(word.replace("{}", image) for word in words), *flags)
        assert ran.code == 2
        assert ENCODED[20:40] not in ran.out + ran.err
        assert "Sg_Qw8Er5Ty2Ui9Op" not in ran.out + ran.err
        assert len(ran.err.splitlines()[-1]) < 1200
    assert service.requests == []


@pytest.mark.parametrize("flags", [(), ("--verbose",), ("--json",)], ids=str)
@pytest.mark.parametrize("image", [ENCODED, ENCODED * 50, "s3" + SIGNED[5:], "\0" + ENCODED], ids=range(4))
def test_what_is_no_name_of_a_file_is_not_taken_for_one(
    cli: Command, service: ThreadedSimulator, image: str, flags: tuple[str, ...]
) -> None:
    """An image that has lost its head, or an address of another kind; the message says what is allowed."""
    ran = cli("generate", "i2v", "--duration", "5", "--image", image, *flags)
    assert ran.code == 2
    assert f", {len(str(Path(image)))} characters>: must be an http(s) URL, a data URI or the name of a file" in ran.err
    assert ENCODED[20:40] not in ran.out + ran.err
    assert "Sg_Qw8Er5Ty2Ui9Op" not in ran.out + ran.err
    assert service.requests == []


def test_a_file_with_an_odd_name_is_an_image_all_the_same(
    cli: Command, service: ThreadedSimulator, tmp_path: Path, image: str
) -> None:
    """What looks like something else is taken for that only if there is no such file."""
    odd = tmp_path / ENCODED.replace("/", "+")[:100]
    odd.write_bytes(Path(image).read_bytes())
    assert cli("generate", "i2v", "--duration", "5", "--image", str(odd)).code == 0


def test_the_reason_of_a_failure_shows_nothing_private(cli: Command, serve: SimulatorFactory) -> None:
    """On no stream, in no format; the key is known here."""
    service = serve(speed=1, durations=(0, 0))
    words = f"[fail: key {service.api_key} cannot load {SIGNED}]"
    for flags in ((), ("--json",), ("--verbose",)):
        ran = cli("generate", "t2v", "--prompt", words, *T2V[4:], *flags)
        assert ran.code == 1
        assert "key <secret> cannot load https://b.example/…" in ran.err
        assert service.api_key not in ran.out + ran.err
        assert "Sg_Qw8Er5Ty2Ui9Op" not in ran.out + ran.err


def test_the_message_of_a_wrong_spec_is_the_sdks(cli: Command, service: ThreadedSimulator) -> None:
    """Word for word, with all that is wrong at once."""
    with pytest.raises(ValueError, match="duration") as caught:
        TextToVideo(prompt="x", aspect_ratio="2:1", duration=6)  # type: ignore[arg-type]
    ran = cli("generate", "t2v", "--prompt", "x", "--aspect-ratio", "2:1", "--duration", "6", "--json")
    assert ran.err == f"error: {caught.value}\n"
    assert ran.events == [
        {
            "event": "error",
            "type": "InvalidSpec",
            "message": str(caught.value),
            "exit_code": 2,
            "task_id": None,
            "idempotency_key": None,
        }
    ]


def test_an_unreadable_image_is_a_usage_error(cli: Command, service: ThreadedSimulator) -> None:
    """There is nothing to look for in the task list, and nothing says so."""
    ran = cli("generate", "i2v", "--duration", "5", "--image", "no-such.png")
    assert ran.code == 2
    assert "must be a readable image" in ran.err
    assert "aivideomaker list" not in ran.err
    assert service.requests == []


def test_extra_fields_travel(cli: Command, service: ThreadedSimulator) -> None:
    ran = cli(*T2V, "--extra", 'filterMode="strict"', "--extra", 'more={"a": [1]}')
    assert ran.code == 0, ran.err
    (task,) = service.tasks.values()
    assert (task.input["filterMode"], task.input["more"]) == ("strict", {"a": [1]})


def test_an_existing_file_is_not_replaced_unasked(cli: Command, service: ThreadedSimulator, tmp_path: Path) -> None:
    """It is noticed before anything is paid."""
    target = tmp_path / "old.mp4"
    target.write_text("old")
    ran = cli(*T2V, "--output", str(target))
    assert ran.code == 2
    assert "--overwrite" in ran.err
    assert (service.requests, target.read_text()) == ([], "old")
    assert cli(*T2V, "--output", str(target), "--overwrite").code == 0
    assert target.read_bytes() == BUNDLED_CLIP.read_bytes()


def test_a_folder_that_cannot_be_written_to_is_noticed_first(
    cli: Command, service: ThreadedSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    ran = cli(*T2V, "--output", str(tmp_path / "new.mp4"))
    assert (ran.code, service.requests) == (2, [])
    assert f"the folder {tmp_path} cannot be written to" in ran.err


def test_a_failed_task_is_exit_code_1(cli: Command, service: ThreadedSimulator) -> None:
    """The reason is told, and nobody is sent to pick it up."""
    ran = cli("generate", "t2v", "--prompt", "x [fail: no luck]", *T2V[4:], "--json")
    (task,) = service.tasks.values()
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == f"error: task {task.id} failed: no luck"
    assert ran.events[-2]["status"] == "FAILED"
    error = ran.events[-1]
    assert (error["type"], error["exit_code"], error["task_id"]) == ("TaskFailed", 1, task.id)


def test_no_key_is_exit_code_3(cli: Command) -> None:
    ran = cli(*T2V)
    assert ran.code == 3
    assert "AIVIDEO_API_KEY" in ran.err


def test_a_refused_key_is_exit_code_3(
    cli: Command, service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key appears nowhere."""
    monkeypatch.setenv("AIVIDEO_API_KEY", "ak_wrong")
    ran = cli(*T2V, "-v")
    assert ran.code == 3
    assert "Invalid API key" in ran.err
    assert "ak_wrong" not in ran.err


def test_too_few_credits_are_exit_code_4(cli: Command, serve: SimulatorFactory) -> None:
    """A refusal leaves nothing to look for."""
    serve(credits=4)
    ran = cli(*T2V)
    assert ran.code == 4
    assert ran.err.splitlines()[-1].endswith("Insufficient credits")
    assert "aivideomaker" not in ran.err


def test_no_connection_is_exit_code_4(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aivideomaker_async.client.client.RetryPolicy", _no_retries)
    monkeypatch.setenv("AIVIDEO_API_KEY", "ak_any")
    ran = cli("list", "--base-url", "http://127.0.0.1:1")
    assert ran.code == 4
    assert "cannot connect" in ran.err


def _no_retries() -> Any:
    from aivideomaker_async import RetryPolicy

    return RetryPolicy(max_attempts=1)


def test_a_timeout_is_exit_code_5_and_the_task_goes_on(cli: Command, slow_service: ThreadedSimulator) -> None:
    """The command that picks it up again has everything that this one had."""
    ran = cli(*T2V, "--timeout", "0.2", "--output", "my video.mp4", "--base-url", slow_service.url)
    (task,) = slow_service.tasks.values()
    assert (ran.code, ran.out, task.status) == (5, "", "PROGRESS")
    assert ran.err.splitlines()[-3:] == [
        "error: gave up after 0 s; the task was last seen in PROGRESS",
        "the task goes on; pick it up again with:",
        f"  aivideomaker watch {task.id} --output 'my video.mp4' --base-url {slow_service.url}",
    ]


def test_a_failed_download_tells_how_to_repeat_it(
    cli: Command, slow_service: ThreadedSimulator, tmp_path: Path, when: When
) -> None:
    """The video is paid and finished: only the file is missing."""
    folder = tmp_path / "gone"
    folder.mkdir()

    def spoil() -> None:
        shutil.rmtree(folder)
        slow_service.finish(next(iter(slow_service.tasks)))

    when(polled(slow_service), spoil)
    ran = cli(*T2V, "--output", str(folder / "a.mp4"), "--json")
    (task,) = slow_service.tasks.values()
    assert ran.code == 4
    assert f"aivideomaker watch {task.id} --output {folder / 'a.mp4'}" in ran.err
    assert ran.events[-1]["type"] == "DownloadError"


def test_a_terminal_shows_an_estimate_as_one(
    cli: Command, service: ThreadedSimulator, terminal: Callable[[], Terminal]
) -> None:
    """While nothing better is known."""
    screen = terminal()
    assert cli(*T2V).code == 0
    assert "~5 credits" in screen.getvalue()


@frozen(kw_only=True)
class Brand(VideoSpec):
    """A brand new model (`brand`).

    Args:
        size: how large.
        images: what to start from: an http(s) URL, a data URI, bytes, a path or an open binary file.
    """

    model: ClassVar[str] = "brand"
    size: Literal[480, 720]
    images: tuple[ImageInput, ...] = ()
    frame: ImageInput | None = None
    strength: float = 0.5
    expand: bool = False
    tags: list[str] | None = None
    moods: tuple[str, ...] = ("calm",)

    @property
    def seconds(self) -> int:
        return 5


def test_a_new_model_appears_by_itself(
    cli: Command, service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fields of every kind become options; without a price the service decides."""
    monkeypatch.setitem(SPECS, "brand", Brand)
    ran = cli("generate", "brand", "--help")
    help_text = " ".join(ran.out.replace("│", " ").split())
    assert "--size 480|720 how large. [required]" in help_text
    assert "--image --images STR... what to start from: an http(s) URL, a data URI or the name of a file." in help_text
    assert "--expand --no-expand [default: False]" in help_text
    ran = cli("generate", "brand", "--size", "720")
    assert ran.code == 4
    assert ran.err.startswith("price: not known: the price table 2026-09 has no price for the model 'brand'\n")
    assert "Invalid model" in ran.err


def test_a_new_model_gets_its_values(cli: Command, service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of files become paths, numbers are numbers, and what is not given has the spec's own default."""
    submitted: list[object] = []

    async def remember(client: object, spec: object, **options: object) -> None:
        submitted.append(spec)
        raise InsufficientCredits("enough", status=402, method="POST", path="/")

    async def unknown(client: object, spec: object, **options: object) -> None:
        raise UnknownPrice("brand", "2026-09")

    monkeypatch.setitem(SPECS, "brand", Brand)
    monkeypatch.setattr("aivideomaker_async.AIVideoMaker.submit", remember)
    monkeypatch.setattr("aivideomaker_async.AIVideoMaker.price", unknown)
    cli(
        *("generate", "brand", "--size", "720", "--image", "a.png", "--image", "http://x/b.png", "--frame", "c.png"),
        *("--strength", "0.25", "--expand", "--tag", "x", "--tag", "y"),
    )
    cli("generate", "brand", "--size", "480")
    assert submitted == [
        Brand(
            size=720,
            images=[Path("a.png"), "http://x/b.png"],  # type: ignore[arg-type]
            frame=Path("c.png"),
            strength=0.25,
            expand=True,
            tags=["x", "y"],
        ),
        Brand(size=480),
    ]


def test_a_price_that_the_service_tells_goes_before_the_estimate(
    cli: Command, service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch, terminal: Callable[[], Terminal]
) -> None:
    """It is what was charged."""
    real = AIVideoMaker.submit

    async def charge(client: AIVideoMaker, spec: VideoSpec, **options: Any) -> VideoTask:
        task = await real(client, spec, **options)
        assert task.submitted is not None
        task._state.observed.submitted = evolve(task.submitted, credits_charged=15)
        return task

    monkeypatch.setattr("aivideomaker_async.AIVideoMaker.submit", charge)
    assert cli(*T2V, "--json").events[0]["credits_charged"] == 15
    screen = terminal()
    assert cli(*T2V).code == 0
    assert "15 credits" in screen.getvalue()
    assert "~" not in screen.getvalue()
