from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import (
    ConfigurationError,
    HappyHorse,
    ImageToVideo,
    ImageToVideoV3,
    LongVideo,
    MiniMaxH3,
    OtherModel,
    Seedance20,
    TextToVideo,
    TextToVideoV3,
    VideoSpec,
    Wan27,
)
from aivideomaker_async._http import requests
from aivideomaker_async._http.requests import Kind, Request
from aivideomaker_async._redaction import Secret
from aivideomaker_async._submits import request_body
from aivideomaker_async._submits.body import Base64Text, Body, Image, Text
from aivideomaker_async._submits.request_body import write_body
from tests.support.pictures import PNG, as_image, data_uri, picture

URL = "https://example.com/cat.png"
EMPTY = Body((b"{}",))


def written(body: Body) -> bytes:
    return b"".join(body.pieces())


# --- bodies: what travels, written by hand -----------------------------------------------------------

DATA = data_uri(PNG)
FILM = "https://example.com/a.mp4"
SOUND = "https://example.com/a.mp3"
Images = dict[str, Image | str | list[Image | str]]

BODIES: list[tuple[VideoSpec | OtherModel, Images, str]] = [
    (
        TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8),
        {},
        '{"prompt":"A sunset","aspectRatio":"16:9","duration":"8"}',
    ),
    (
        TextToVideoV3(prompt="A sunset", aspect_ratio="9:16", duration=20),
        {},
        '{"prompt":"A sunset","aspectRatio":"9:16","duration":"20"}',
    ),
    (
        ImageToVideo(image=URL, prompt="It moves", duration=5),
        {"image": URL},
        '{"image":"https://example.com/cat.png","prompt":"It moves","duration":"5"}',
    ),
    (
        ImageToVideo(image=URL, duration=5),
        {"image": URL},
        '{"image":"https://example.com/cat.png","duration":"5"}',
    ),
    (
        ImageToVideoV3(image=URL, prompt="It moves", duration=15),
        {"image": URL},
        '{"image":"https://example.com/cat.png","prompt":"It moves","duration":"15"}',
    ),
    (
        ImageToVideoV3(image=PNG, duration=10),
        {"image": as_image(PNG)},
        '{"image":"' + DATA + '","duration":"10"}',
    ),
    (
        LongVideo(image=URL, prompts=["One", "Two", "Three"]),
        {"image": URL},
        '{"image":"https://example.com/cat.png","prompt":["One","Two","Three"]}',
    ),
    (
        LongVideo(image=Path("/no/such.png"), prompts=("One",)),
        {"image": as_image(PNG)},
        '{"image":"' + DATA + '","prompt":["One"]}',
    ),
    (
        TextToVideo(prompt="A", aspect_ratio="1:1", duration=5, extra={"filterMode": "strict", "seed": [1, None]}),
        {},
        '{"prompt":"A","aspectRatio":"1:1","duration":"5","filterMode":"strict","seed":[1,null]}',
    ),
    (
        MiniMaxH3(prompt="A cat"),
        {},
        '{"content":"A cat","duration":5,"resolution":"720p","tier":"turbo","aspectRatio":"16:9"}',
    ),
    (
        MiniMaxH3(
            prompt="A cat",
            duration=20,
            resolution="1080P",
            tier="base",
            aspect_ratio="21:9",
            image=PNG,
            last_frame=URL,
            extra={"prompt": "x"},
        ),
        {"image": as_image(PNG), "last_frame": URL},
        '{"content":"A cat","duration":20,"resolution":"1080p","tier":"base","aspectRatio":"21:9",'
        '"imageUrl":"' + DATA + '","lastFrameUrl":"https://example.com/cat.png","prompt":"x"}',
    ),
    (
        MiniMaxH3(
            prompt="A cat",
            reference_images=[PNG, URL, Path("/no/such.png")],
            reference_video=FILM,
            reference_audios=[SOUND],
        ),
        {"reference_images": [as_image(PNG), URL, as_image(PNG)]},
        '{"content":"A cat","duration":5,"resolution":"720p","tier":"turbo","aspectRatio":"16:9",'
        '"referenceImageUrls":["' + DATA + '","https://example.com/cat.png","' + DATA + '"],'
        '"referenceVideoUrl":"https://example.com/a.mp4","referenceAudioUrls":["https://example.com/a.mp3"]}',
    ),
    (
        Seedance20(prompt="A cat", duration=4, resolution="480p", aspect_ratio="9:16"),
        {},
        '{"prompt":"A cat","duration":4,"resolution":480,"ratio":"9:16"}',
    ),
    (
        Seedance20(image=PNG, video=FILM, audio=SOUND, duration=15, resolution="720P", aspect_ratio="1:1"),
        {"image": as_image(PNG)},
        '{"image":"' + DATA + '","video":"https://example.com/a.mp4","audio":"https://example.com/a.mp3",'
        '"duration":15,"resolution":720,"ratio":"1:1"}',
    ),
    (
        Wan27(prompt="A cat", duration=10),
        {},
        '{"prompt":"A cat","duration":"10","resolution":"720P","ratio":"16:9","promptExtend":false}',
    ),
    (
        Wan27(prompt="A cat", image=URL, duration=5, resolution=1080, aspect_ratio="3:4", prompt_extend=True),
        {"image": URL},
        '{"prompt":"A cat","image":"https://example.com/cat.png","duration":"5","resolution":"1080P","ratio":"3:4",'
        '"promptExtend":true}',
    ),
    (
        HappyHorse(prompt="A cat", duration=3),
        {},
        '{"prompt":"A cat","duration":3,"resolution":"720P","ratio":"16:9"}',
    ),
    (
        HappyHorse(prompt="A cat", duration=15, image=PNG, resolution="1080p", aspect_ratio="4:3"),
        {"image": as_image(PNG)},
        '{"prompt":"A cat","image":"' + DATA + '","duration":15,"resolution":"1080P","ratio":"4:3"}',
    ),
    (
        HappyHorse(prompt="A cat", duration=7, image=[URL]),
        {"image": [URL]},
        '{"prompt":"A cat","image":["https://example.com/cat.png"],"duration":7,"resolution":"720P","ratio":"16:9"}',
    ),
    (
        OtherModel("minimax", {"content": "A cat", "duration": 5, "promptExtend": False, "image": URL}),
        {},
        '{"content":"A cat","duration":5,"promptExtend":false,"image":"https://example.com/cat.png"}',
    ),
    (OtherModel("empty", {}), {}, "{}"),
]


@pytest.mark.parametrize(("spec", "images", "expected"), BODIES)
def test_the_body_is_what_the_api_documents(spec: VideoSpec | OtherModel, images: Images, expected: str) -> None:
    """Wire names, wire types (a duration is a text, or a number), nothing that was not given, and extra fields."""
    body = write_body(spec, images)
    # As sorted pairs: the order of the fields is free, and none may stand there twice.
    assert in_order(written(body)) == in_order(expected.encode())
    assert len(body) == len(expected)


def in_order(body: bytes) -> object:
    """With the types of all values: 5 is not 5.0, and false not 0."""
    return json.loads(
        body, object_pairs_hook=sorted, parse_constant=repr, parse_float=repr, parse_int=lambda text: (text,)
    )


def test_images_that_are_urls_need_not_be_read() -> None:
    """They travel as they were given, in lists as well."""
    spec = MiniMaxH3(prompt="A cat", reference_images=[URL, URL], reference_audios=[SOUND, SOUND])
    assert json.loads(written(write_body(spec)))["referenceImageUrls"] == [URL, URL]
    assert json.loads(written(write_body(HappyHorse(prompt="A", duration=5, image=(URL,)))))["image"] == [URL]


def test_images_in_a_list_stand_for_themselves() -> None:
    """In order; another order is another request."""
    one, two = as_image(PNG), as_image(picture("PNG", 9))
    spec = MiniMaxH3(prompt="A cat", reference_images=[URL, URL, URL])
    fields = request_body.outline(spec, {"reference_images": [one, URL, two]})
    assert fields["referenceImageUrls"] == [one, URL, two]
    body = request_body.write_outline(fields)
    assert [type(part) for part in body.parts] == [bytes, Image, bytes, Image, bytes]
    assert body.digest == write_body(spec, {"reference_images": [one, URL, two]}).digest
    assert body.digest != write_body(spec, {"reference_images": [two, URL, one]}).digest
    assert body.digest != write_body(spec, {"reference_images": [one, two, URL]}).digest


@given(st.text(min_size=1).filter(str.strip))
def test_any_prompt_arrives_as_it_was_written(prompt: str) -> None:
    """Quotes, line breaks, emoji and control characters."""
    try:
        prompt.encode()
    except UnicodeEncodeError:
        return
    body = write_body(TextToVideo(prompt=prompt, aspect_ratio="1:1", duration=5))
    assert json.loads(written(body))["prompt"] == prompt
    assert len(body) == len(written(body))


LONG = "data:image/png;base64," + "QUJD" * 50_000
NOVEL = 'Она сказала: "é\u2028😀\\"\n\x00' * 5_000


@pytest.mark.parametrize(
    "body",
    [
        {"image": LONG, "duration": 5},
        {"images": [LONG, URL, NOVEL], "deep": {"er": ({"last": LONG}, None)}, "text": LONG},
        {"first": LONG[:65_536], "then": LONG[:65_537]},
        {LONG: LONG, 'a "name"': [[], {}, (), ""]},
        [],
    ],
)
def test_long_texts_are_written_as_json_writes_them(body: Any) -> None:
    """Wherever they stand, with everything in them that JSON escapes."""
    fields = {"fields": body, "end": 1}
    expected = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    for spec, image in (
        (OtherModel("m", fields), None),
        (TextToVideo(prompt="a", aspect_ratio="1:1", duration=5, extra=fields), None),
        (ImageToVideo(image=PNG, duration=5, extra=fields), as_image(PNG)),
    ):
        found = write_body(spec, {} if image is None else {"image": image})
        assert len(found) == len(written(found))
        assert written(found).endswith(expected[1:])
        json.loads(written(found))


def test_a_long_text_is_a_part_of_its_own() -> None:
    """So that nothing joins it with the rest; a short one is not worth that."""
    found = write_body(OtherModel("m", {"a": LONG, "b": "short", "c": [LONG]}))
    assert [type(part) for part in found.parts] == [bytes, Text, bytes, Text, bytes]
    assert found.parts[1] == found.parts[3] == Text.of(LONG)
    assert b"".join(part for part in found.parts if isinstance(part, bytes)) == b'{"a":"","b":"short","c":[""]}'


@pytest.mark.parametrize("late", [object(), b"bytes", float("nan"), "\ud800", "\ud800" * 100_000])
def test_what_was_put_into_a_body_after_its_check_is_not_sent(late: object) -> None:
    """The lists in it are the caller's, who can still change them."""
    images: list[object] = [URL, LONG]
    spec = OtherModel("m", {"images": images})
    images.append(late)
    with pytest.raises((TypeError, ValueError)):
        write_body(spec)


def test_equal_bodies_have_equal_digests() -> None:
    """Whichever way the image came in; another image, text or field makes another digest."""
    other = picture("PNG", 9)

    def digest(image: Image | str | None = None, **fields: object) -> bytes:
        return write_body(
            ImageToVideo(image=URL, duration=5, extra=fields), {} if image is None else {"image": image}
        ).digest

    text = Base64Text(data_uri(PNG))
    from_text = Image("image/png", len(PNG), as_image(PNG).digest, text)
    assert digest(as_image(PNG)) == digest(from_text) == digest(as_image(PNG))
    different = [
        digest(),
        digest(as_image(PNG)),
        digest(as_image(other)),
        digest(URL + "2"),
        digest(a=LONG),
        digest(a=LONG[:-1]),
        digest(a=LONG[:-4] + "QUJE"),
        digest(b=LONG),
    ]
    assert len({*different}) == len(different)


def test_the_image_that_must_be_read_is_told() -> None:
    """It is what the user gave; specs without an image, and models without a class, have none."""
    assert request_body.images_of(ImageToVideo(image=PNG, duration=5)) == {"image": PNG}
    assert request_body.images_of(LongVideo(image=URL, prompts=("a",))) == {"image": URL}
    assert request_body.images_of(TextToVideo(prompt="a", aspect_ratio="1:1", duration=5)) == {}
    assert request_body.images_of(OtherModel("minimax", {"image": URL})) == {}
    h3 = MiniMaxH3(prompt="a", reference_images=[PNG, URL])
    assert request_body.images_of(h3) == {"reference_images": (PNG, URL)}
    assert request_body.images_of(HappyHorse(prompt="a", duration=5, image=PNG)) == {"image": PNG}
    assert request_body.images_of(HappyHorse(prompt="a", duration=5, image=[PNG])) == {"image": (PNG,)}
    assert request_body.images_of(HappyHorse(prompt="a", duration=5)) == {}
    frames = MiniMaxH3(prompt="a", image=PNG, last_frame=URL)
    assert request_body.images_of(frames) == {"image": PNG, "last_frame": URL}
    assert request_body.images_of(MiniMaxH3(prompt="a", reference_images=[], reference_audios=[SOUND])) == {}
    seedance = Seedance20(image=PNG, video=FILM, audio=SOUND, duration=5, resolution=480, aspect_ratio="1:1")
    assert request_body.images_of(seedance) == {"image": PNG}


# --- calls -------------------------------------------------------------------------------------------

CALLS: list[tuple[Request[Any], str, str, Kind, str]] = [
    (requests.list_tasks(), "GET", "/api/v1/tasks", Kind.QUERY, "endpoint"),
    (requests.get_task("tv_1"), "GET", "/api/v1/tasks/tv_1", Kind.QUERY, "task"),
    (requests.get_status("tv_1"), "GET", "/api/v1/tasks/tv_1/status", Kind.QUERY, "task"),
    (requests.cancel_task("tv_1"), "PUT", "/api/v1/tasks/tv_1/cancel", Kind.COMMAND, "task"),
    (requests.get_account(), "GET", "/api/v1/account", Kind.QUERY, "endpoint"),
    (requests.quote_price("t2v", EMPTY), "POST", "/api/v1/quote/t2v", Kind.COMMAND, "endpoint"),
    (
        requests.generate("t2v", EMPTY, idempotency_key="12345678", webhook_url=None, max_credits=None),
        "POST",
        "/api/v1/generate/t2v",
        Kind.SUBMIT,
        "endpoint",
    ),
]


@pytest.mark.parametrize(("request_", "method", "path", "kind", "missing"), CALLS)
def test_each_call_is_the_documented_one(
    request_: Request[Any], method: str, path: str, kind: Kind, missing: str
) -> None:
    """Queries count against the limit, commands do not, and only a submit costs money."""
    assert (request_.method, request_.path, request_.kind, request_.missing) == (method, path, kind, missing)
    assert (request_.body is None) is (method != "POST")


HOSTILE = [
    "../x?y",
    "../../account",
    "a/b",
    "a?b=c#d",
    "%2e%2e",
    "%2F",
    "a b\r\nkey: stolen",
    "ключ",
    "タスク",
    "💥",
    ";@&=+$,",
    "..\\..",
    "\x00",
    "x" * 10_240,
]
MADE_OF_AN_ID: list[Callable[[str], Request[Any]]] = [requests.get_task, requests.get_status, requests.cancel_task]


@pytest.mark.parametrize("make", MADE_OF_AN_ID)
@pytest.mark.parametrize("task_id", HOSTILE)
def test_a_hostile_id_stays_one_segment_of_the_path(make: Callable[[str], Request[Any]], task_id: str) -> None:
    """It leads to no other endpoint, adds no query and breaks no line; and the service reads it back unchanged."""
    before, after = make("ID").path.split("ID")
    path = make(task_id).path
    assert path.startswith(before)
    assert path.endswith(after)
    segment = path[len(before) : len(path) - len(after)]
    assert not set(segment) & set("/?#\\ \r\n;")
    assert segment.isascii()
    assert unquote(segment) == task_id


@given(st.text(min_size=1))
def test_any_id_is_quoted_or_refused(task_id: str) -> None:
    """Never anything else."""
    try:
        path = requests.get_task(task_id).path
    except ConfigurationError:
        assert task_id in {".", ".."} or any("\ud800" <= letter <= "\udfff" for letter in task_id)
    else:
        assert unquote(path.removeprefix("/api/v1/tasks/")) == task_id
        assert path.count("/") == 4


@pytest.mark.parametrize("make", MADE_OF_AN_ID)
@pytest.mark.parametrize("task_id", ["", ".", "..", "\ud800", None, 17, b"tv_1", ["tv_1"]])
def test_what_can_be_no_id_is_refused(make: Callable[[Any], Request[Any]], task_id: object) -> None:
    """Dots are steps in a path, quoted or not; the message names the argument and the value."""
    with pytest.raises(ConfigurationError, match="task_id=") as caught:
        make(task_id)
    assert repr(task_id) in str(caught.value)


@pytest.mark.parametrize("model", ["a/../b", "../account", "x?y", "模型"])
def test_a_model_s_name_stays_one_segment_of_the_path(model: str) -> None:
    """Names of models come from users too."""
    submit = requests.generate(model, EMPTY, idempotency_key="12345678", webhook_url=None, max_credits=None)
    for path in (submit.path, requests.quote_price(model, EMPTY).path):
        assert path.count("/") == 4
        assert unquote(path.rpartition("/")[2]) == model


# --- headers of a submit -----------------------------------------------------------------------------


def headers(**arguments: Any) -> Mapping[str, str]:
    usual = {"idempotency_key": "12345678", "webhook_url": None, "max_credits": None}
    request = requests.generate("t2v", EMPTY, **{**usual, **arguments})
    return {**request.headers, **{name: secret.reveal() for name, secret in request.secrets.items()}}


def test_a_submit_has_the_documented_headers() -> None:
    """The key always, the others where they were asked for; 0 credits is a limit, not none."""
    assert headers() == {"Idempotency-Key": "12345678"}
    assert headers(webhook_url=Secret("https://me.example/hook?token=1"), max_credits=0) == {
        "Idempotency-Key": "12345678",
        "webhookUrl": "https://me.example/hook?token=1",
        "X-Max-Credits": "0",
    }


@pytest.mark.parametrize("key", ["x" * 8, "x" * 128, "order 17 / part 2", "!#$%&'~~"])
def test_a_key_of_8_to_128_printable_characters_travels(key: str) -> None:
    """As it is."""
    assert headers(idempotency_key=key)["Idempotency-Key"] == key


@pytest.mark.parametrize(
    "key", ["x" * 7, "x" * 129, "", " 12345678", "12345678 ", "1234\r\n5678", "12345678\n", "ключключ", None, 12345678]
)
def test_any_other_key_is_refused(key: object) -> None:
    """Before anything is sent; the message names the argument and the value."""
    with pytest.raises(ConfigurationError, match=r"idempotency_key=.*8 to 128") as caught:
        headers(idempotency_key=key)
    assert repr(key) in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "ftp://me.example/hook?token=SECRET",
        "https://",
        "https:///SECRET",
        "https://me.example/a b",
        "https://me.example/\r\nkey: SECRET",
        "https://me.example/ключ",
        "https://[me.example/SECRET",
        "https://[::1/SECRET",
        17,
        b"https://me.example/SECRET",
    ],
)
def test_a_webhook_that_can_be_no_url_is_refused_and_not_shown(url: Any) -> None:
    """A webhook's URL may hold a token, so no message repeats it."""
    with pytest.raises(ConfigurationError, match=r"webhook_url: must be an http\(s\) URL") as caught:
        headers(webhook_url=Secret(url))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("credits_", [-1, 1.5, 10.0, True, "10", float("nan")])
def test_a_budget_that_is_no_number_of_credits_is_refused(credits_: object) -> None:
    """Whole, 0 or more; the message names the argument and the value."""
    with pytest.raises(ConfigurationError, match="max_credits=") as caught:
        headers(max_credits=credits_)
    assert repr(credits_) in str(caught.value)


def test_no_repr_of_a_request_shows_headers_or_body() -> None:
    """They may hold a token or an image."""
    request = requests.generate(
        "t2v",
        Body((b"SECRET",)),
        idempotency_key="SECRET-8",
        webhook_url=Secret("https://x.example/SECRET"),
        max_credits=1,
    )
    assert "SECRET" not in repr(request)


@pytest.mark.parametrize(
    ("url", "text", "shown"),
    [
        ("https://me.example/hook/t0k3n-1234", "no answer from https://me.example/hook/t0k3n-1234", "<secret>"),
        ("https://me.example/hook/t0k3n-1234", "see https://me.example for help", "see https://me.example for help"),
        ("https://me.example?sig=t0k3n-1234", "bad ?sig=t0k3n-1234", "bad <secret>"),
        ("https://me.example/h", "bad https://me.example/h", "bad https://me.example/h"),
        ("https://me:t0k3n-1234@me.example/", "bad me:t0k3n-1234@me.example", "bad <secret>@me.example"),
    ],
)
def test_a_text_that_tells_of_a_webhook_tells_no_token(url: str, text: str, shown: str) -> None:
    """Nor long pieces of it; the host is known to everybody."""
    arguments: dict[str, Any] = {"idempotency_key": "12345678", "max_credits": None}
    request = requests.generate("t2v", EMPTY, webhook_url=Secret(url), **arguments)
    hidden = request.hide_in(text)
    assert "t0k3n-12" not in hidden
    assert hidden.endswith(shown)
    assert requests.generate("t2v", EMPTY, webhook_url=None, **arguments).hide_in(text) == text
