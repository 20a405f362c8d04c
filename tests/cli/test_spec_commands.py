"""The options of `generate` and `quote`: which specs they make, and the messages for wrong ones."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import attrs
import pytest
from attrs import frozen

from aivideomaker_async import (
    AIVideoMaker,
    HappyHorse,
    ImageInput,
    ImageToVideo,
    ImageToVideoV3,
    InsufficientCredits,
    LongVideo,
    MiniMaxH3,
    Seedance20,
    TextToVideo,
    TextToVideoV3,
    UnknownPrice,
    VideoSpec,
    Wan27,
)
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from aivideomaker_async.specs import SPECS
from aivideomaker_async.specs.image_input import IMAGE_FORMS
from aivideomaker_async.specs.validators import Rule
from tests.cli.conftest import T2V, ClientCalls, Command

URL: Final = "https://example.com/a.png"


@pytest.fixture
def nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the calls of the client by errors, so no service is needed."""

    async def no_price(client: object, spec: object, **options: object) -> None:
        raise UnknownPrice("brand", "2026-09")

    async def no_submit(client: object, spec: object, **options: object) -> None:
        raise InsufficientCredits("enough", status=402, method="POST", path="/")

    monkeypatch.setenv("AIVIDEO_API_KEY", "ak_any")
    monkeypatch.setattr(AIVideoMaker, "price", no_price)
    monkeypatch.setattr(AIVideoMaker, "submit", no_submit)


# IMAGE is the name of a file.
SPECS_OF: dict[str, VideoSpec] = {
    "t2v --prompt a --aspect-ratio 9:16 --duration 8": TextToVideo(prompt="a", aspect_ratio="9:16", duration=8),
    "t2v_v3 --prompt=-a --aspect-ratio 1:1 --duration 20": TextToVideoV3(prompt="-a", aspect_ratio="1:1", duration=20),
    f"i2v --image {URL} --duration 5": ImageToVideo(image=URL, duration=5),
    "i2v --image HTTPS://a.example/b --duration 5": ImageToVideo(image="HTTPS://a.example/b", duration=5),
    "i2v --image IMAGE --duration 5": ImageToVideo(image=Path("IMAGE"), duration=5),
    f"i2v_v3 --image {URL} --duration 15 --prompt none": ImageToVideoV3(image=URL, duration=15, prompt="none"),
    f"lv --image {URL} --prompt a --prompt b": LongVideo(image=URL, prompts=("a", "b")),
    f"lv --prompts a b --image {URL}": LongVideo(image=URL, prompts=("a", "b")),
    "minimax --prompt a": MiniMaxH3(prompt="a"),
    f"minimax --prompt a --duration 20 --resolution 1080P --tier base --aspect-ratio auto --image {URL} "
    "--last-frame IMAGE": MiniMaxH3(
        prompt="a",
        duration=20,
        resolution="1080p",
        tier="base",
        aspect_ratio="auto",
        image=URL,
        last_frame=Path("IMAGE"),
    ),
    f"minimax --prompt a --reference-image {URL} --reference-image IMAGE --reference-audios {URL} {URL}": MiniMaxH3(
        prompt="a", reference_images=(URL, Path("IMAGE")), reference_audios=(URL, URL)
    ),
    "seedance20 --prompt a --duration 5 --resolution 480p --aspect-ratio 1:1": Seedance20(
        prompt="a", duration=5, resolution="480p", aspect_ratio="1:1"
    ),
    f"seedance20 --image IMAGE --video {URL} --audio {URL} --duration 5 --resolution 720 "
    "--aspect-ratio 9:16": Seedance20(
        image=Path("IMAGE"), video=URL, audio=URL, duration=5, resolution="720p", aspect_ratio="9:16"
    ),
    "wan27 --prompt a --duration 10 --prompt-extend": Wan27(prompt="a", duration=10, prompt_extend=True),
    "wan27 --prompt a --duration 5 --no-prompt-extend": Wan27(prompt="a", duration=5, prompt_extend=False),
    "happyhorse --prompt a --duration 3 --image IMAGE": HappyHorse(prompt="a", duration=3, image=Path("IMAGE")),
    f"happyhorse --prompt a --duration 3 --image {URL} --image IMAGE": HappyHorse(
        prompt="a", duration=3, image=[URL, Path("IMAGE")]
    ),
}


@pytest.mark.parametrize("words", SPECS_OF)
@pytest.mark.usefixtures("nothing_is_sent")
def test_options_make_a_spec(
    cli: Command, calls: ClientCalls, image: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(image).rename(Path(image).with_name("IMAGE"))
    monkeypatch.chdir(Path(image).parent)
    assert cli("quote", *words.split()).code == 4
    assert calls.priced == [SPECS_OF[words]]


@pytest.mark.usefixtures("nothing_is_sent")
def test_generate_takes_the_options_of_quote_and_extra_fields(cli: Command, calls: ClientCalls) -> None:
    extra = ("--extra", 'filterMode="strict"', "--extra", 'more={"a": [1]}')
    for command in ("quote", "generate"):
        assert cli(command, *T2V[1:], *extra).code == 4
    expected = TextToVideo(
        prompt="A sunset", aspect_ratio="16:9", duration=5, extra={"filterMode": "strict", "more": {"a": [1]}}
    )
    assert calls.priced == [expected, expected]
    assert calls.submitted == [expected]


@pytest.mark.parametrize(
    ("changed", "message"),
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
        (("--max-credits", "-1"), "--max-credits"),
        (("--max-credits", "1.5"), "--max-credits"),
        (("--output", "."), "--output .: this is a folder"),
        (("--output", "no/such/folder.mp4"), "there is no folder no/such"),
    ],
)
def test_a_wrong_value_is_a_usage_error(
    cli: Command, service: ThreadedSimulator, changed: tuple[str, str], message: str
) -> None:
    """In the words of the specs where it is their rule. Nothing is sent."""
    options = dict(zip(T2V[2::2], T2V[3::2], strict=True)) | {changed[0]: changed[1]}
    ran = cli("generate", "t2v", *(f"{name}={value}" for name, value in options.items()))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1
    assert service.requests == []


@pytest.mark.parametrize("words", [("--output", "a.mp4"), ("--timeout", "5"), ("--yes",)])
def test_quote_has_no_other_options_of_generate(cli: Command, words: tuple[str, ...]) -> None:
    assert cli("quote", *T2V[1:], *words).code == 2


def test_all_problems_of_a_spec_are_reported_at_once(cli: Command, service: ThreadedSimulator) -> None:
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
            "spec": "TextToVideo",
            "problems": [
                {"field": "aspect_ratio", "value": "'2:1'", "allowed": "'16:9' or '9:16' or '1:1'"},
                {"field": "duration", "value": "6", "allowed": "5 or 8 (seconds)"},
            ],
        }
    ]


# --- images ------------------------------------------------------------------------------------------

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
    cli: Command, words: tuple[str, ...], flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image may be longer than a screen, and a signed address does not belong into a log."""
    monkeypatch.setenv("AIVIDEO_API_KEY", "ak_any")
    monkeypatch.setenv("AIVIDEO_BASE_URL", "http://127.0.0.1:1")
    for image in (f"data:image/png;base64,{ENCODED}", ENCODED, SIGNED):
        ran = cli(*(word.replace("{}", image) for word in words), *flags)
        assert ran.code == 2
        assert ENCODED[20:40] not in ran.out + ran.err
        assert "Sg_Qw8Er5Ty2Ui9Op" not in ran.out + ran.err
        assert len(ran.err.splitlines()[-1]) < 1200


@pytest.mark.parametrize("flags", [(), ("--verbose",), ("--json",)], ids=str)
@pytest.mark.parametrize("image", [ENCODED, ENCODED * 50, "s3" + SIGNED[5:], "\0" + ENCODED], ids=range(4))
def test_an_image_that_is_neither_an_address_nor_a_file_name_is_refused(
    cli: Command, service: ThreadedSimulator, image: str, flags: tuple[str, ...]
) -> None:
    """Such as Base64 without its head, or an address of another scheme. The message has what is allowed."""
    ran = cli("generate", "i2v", "--duration", "5", "--image", image, *flags)
    assert ran.code == 2
    assert f", {len(str(Path(image)))} characters>: must be an http(s) URL, a data URI or the name of a file" in ran.err
    assert ENCODED[20:40] not in ran.out + ran.err
    assert "Sg_Qw8Er5Ty2Ui9Op" not in ran.out + ran.err
    assert service.requests == []


def test_a_file_with_an_odd_name_is_an_image(
    cli: Command, service: ThreadedSimulator, tmp_path: Path, image: str
) -> None:
    odd = tmp_path / ENCODED.replace("/", "+")[:100]
    odd.write_bytes(Path(image).read_bytes())
    assert cli("generate", "i2v", "--duration", "5", "--image", str(odd)).code == 0


@pytest.mark.parametrize("image", ["https://", "nope.png", ""])
def test_a_wrong_image_is_a_usage_error_in_the_terms_of_a_command_line(
    cli: Command, service: ThreadedSimulator, image: str
) -> None:
    ran = cli("generate", "i2v", "--duration", "5", "--image", image)
    assert ran.code == 2
    assert not any(word in ran.err for word in ("pathlib", "Path(", "AIVideoMaker(", "aivideomaker list"))
    assert service.requests == []


# --- help, and models to come ------------------------------------------------------------------------


@pytest.mark.parametrize("model", SPECS)
def test_the_help_of_a_model_has_every_option_and_the_allowed_values(cli: Command, model: str) -> None:
    """In words or as choices, whatever the width of the screen."""
    ran = cli("generate", model, "--help")
    assert ran.code == 0
    text = " ".join(ran.out.replace("│", " ").split())
    for field in attrs.fields(SPECS[model]):
        rule = field.metadata.get("rule")
        if not isinstance(rule, Rule):
            continue
        assert f"--{field.name.replace('_', '-')}" in text
        values = re.findall(r"\d[\w:]*", rule.allowed.replace(IMAGE_FORMS, ""))
        assert [value for value in values if value not in text] == []
    assert "bytes" not in text
    assert "or None" not in text


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


@pytest.mark.usefixtures("nothing_is_sent")
def test_a_new_model_has_a_subcommand_by_itself(
    cli: Command, calls: ClientCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fields of every kind become options, and an option that is not passed has the default of the spec."""
    monkeypatch.setitem(SPECS, "brand", Brand)
    text = " ".join(cli("generate", "brand", "--help").out.replace("│", " ").split())
    assert "--size 480|720 how large. [required]" in text
    assert "--image --images STR... what to start from: an http(s) URL, a data URI or the name of a file." in text
    assert "--expand --no-expand [default: False]" in text
    ran = cli(
        *("generate", "brand", "--size", "720", "--image", "a.png", "--image", "http://x/b.png", "--frame", "c.png"),
        *("--strength", "0.25", "--expand", "--tag", "x", "--tag", "y"),
    )
    assert ran.code == 4
    assert ran.err.startswith("price: not known: the price table 2026-09 has no price for the model 'brand'\n")
    cli("generate", "brand", "--size", "480")
    images: Any = [Path("a.png"), "http://x/b.png"]
    assert calls.submitted == [
        Brand(size=720, images=images, frame=Path("c.png"), strength=0.25, expand=True, tags=["x", "y"]),
        Brand(size=480),
    ]
