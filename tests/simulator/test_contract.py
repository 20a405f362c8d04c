"""Which requests are valid in each revision, what they cost, and how others are refused."""

from __future__ import annotations

import base64
import json
from itertools import product
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from multidict import CIMultiDict

from aivideomaker_async.simulator.contract import (
    REVISIONS,
    Refusal,
    SubmitHeaders,
    VideoOrder,
    read_object,
    read_order,
    read_submit_headers,
    revision_named,
)
from aivideomaker_async.simulator.images import is_web_url, read_data_uri
from aivideomaker_async.simulator.models import Model
from tests.simulator.client import PNG, PNG_URI, T2V

MARCH: Final = "2026-03"
SEPTEMBER: Final = "2026-09"
URL: Final = "https://example.com/cat.png"

# A smallest valid input, and its price, by revision and model.
VALID: Final[dict[str, dict[str, tuple[dict[str, Any], int]]]] = {
    MARCH: {
        "t2v": (T2V, 5),
        "i2v": ({"image": URL, "prompt": "it moves", "duration": "8"}, 8),
        "lv": ({"image": URL, "prompt": ["one", "two"]}, 150),
        "t2v_v3": ({"prompt": "a sunset", "aspectRatio": "9:16", "duration": "20"}, 200),
        "i2v_v3": ({"image": URL, "prompt": "", "duration": "15"}, 150),
    },
    SEPTEMBER: {
        "t2v": (T2V, 15),
        "i2v": ({"image": URL, "prompt": "it moves", "duration": "8"}, 24),
        "t2v_v3": ({"prompt": "a sunset", "aspectRatio": "9:16", "duration": "20"}, 80),
        "i2v_v3": ({"image": URL, "duration": "10"}, 40),
        "minimax": ({"content": "a sunset"}, 15),
        "seedance20": ({"prompt": "a sunset", "duration": 4, "resolution": 480, "ratio": "16:9"}, 41),
        "wan27": ({"prompt": "a sunset", "duration": "5", "resolution": "720P", "ratio": "16:9"}, 50),
        "happyhorse": ({"prompt": "a sunset", "duration": 5, "resolution": "720P"}, 125),
    },
}
REQUIRED: Final = {
    "t2v": {"prompt", "aspectRatio", "duration"},
    "i2v": {"image", "duration"},
    "lv": {"image", "prompt"},
    "t2v_v3": {"prompt", "aspectRatio", "duration"},
    "i2v_v3": {"image", "duration"},
    "minimax": {"content"},
    "seedance20": {"duration", "resolution", "ratio"},
    "wan27": {"prompt", "duration", "resolution", "ratio"},
    "happyhorse": {"prompt", "duration", "resolution"},
}
NULLABLE: Final = {
    "t2v": set[str](),
    "i2v": {"prompt"},
    "t2v_v3": set[str](),
    "i2v_v3": {"prompt"},
    "minimax": {"imageUrl", "lastFrameUrl", "referenceVideoUrl"},
    "seedance20": {"prompt", "image", "video", "audio"},
    "wan27": {"image"},
    "happyhorse": {"image", "ratio"},
}
ALL: Final = [(revision, model) for revision, models in VALID.items() for model in models]


def valid(revision: str, model: str, /, **changes: object) -> dict[str, Any]:
    return {**VALID[revision][model][0], **changes}


def read(revision: str, model: str, body: object) -> VideoOrder:
    return read_order(revision_named(revision), model, json.dumps(body).encode())


def problems_of(model: Model, body: dict[str, Any]) -> list[str]:
    return model.problems(model.without_nulls(body))


def problem(revision: str, model: str, body: object) -> str:
    with pytest.raises(Refusal) as refused:
        read(revision, model, body)
    assert (refused.value.status, refused.value.code) == (400, "INVALID_PAYLOAD")
    return refused.value.message.removeprefix("Invalid payload: ")


# --- orders ------------------------------------------------------------------------------------------


def test_every_model_of_every_revision_is_in_the_table() -> None:
    assert {name: list(one.models) for name, one in REVISIONS.items()} == {
        name: list(models) for name, models in VALID.items()
    }
    with pytest.raises(ValueError, match="revision must be one of 2026-03, 2026-09, got '2020-01'"):
        revision_named("2020-01")


@pytest.mark.parametrize(("revision", "model"), ALL)
def test_an_order_has_the_price_of_its_model_and_keeps_unknown_fields(revision: str, model: str) -> None:
    body = valid(revision, model, filterMode="strict", other={"a": [1, None]}, more=None)
    order = read(revision, model, body)
    assert (order.model, order.input, order.credits) == (model, body, VALID[revision][model][1])
    assert type(order.credits) is type(order.seconds) is int


@pytest.mark.parametrize(
    ("model", "changes", "price"),
    [
        ("minimax", {"duration": 20, "resolution": "1080p"}, 80),
        ("minimax", {"duration": 10, "tier": "base"}, 40),
        ("minimax", {"duration": 7, "resolution": "1080p", "tier": "base"}, 35),
        ("seedance20", {"duration": 5}, 51),
        ("seedance20", {"duration": 5, "resolution": 720}, 110),
        ("seedance20", {"duration": 4.5}, 46),
        ("wan27", {"duration": "15", "resolution": "1080P"}, 225),
        ("happyhorse", {"duration": 3, "resolution": "1080P"}, 150),
    ],
)
def test_fields_change_the_price(model: str, changes: dict[str, object], price: int) -> None:
    assert read(SEPTEMBER, model, valid(SEPTEMBER, model, **changes)).credits == price


@pytest.mark.parametrize(("revision", "model"), ALL)
def test_a_missing_field_is_named(revision: str, model: str) -> None:
    required = REQUIRED[model]
    for name in required:
        body = {key: value for key, value in valid(revision, model).items() if key != name}
        assert problem(revision, model, body) == f"{name} is required"
    others = {one.name for one in REVISIONS[revision].models[model].fields} - required
    body = {key: value for key, value in valid(revision, model).items() if key not in others - {"prompt"}}
    assert read(revision, model, body).input == body


@pytest.mark.parametrize("model", NULLABLE)
def test_a_null_leaves_out_the_fields_that_may_be_null(model: str) -> None:
    """It is as if they were not sent, in the input that the service shows as well. In any other it is a wrong value."""
    body = valid(SEPTEMBER, model)
    for name in (one.name for one in REVISIONS[SEPTEMBER].models[model].fields):
        if name in NULLABLE[model]:
            beside = {"image": URL} if name != "image" else {"prompt": "a sunset"}
            without = {key: value for key, value in {**body, **beside}.items() if key != name}
            assert read(SEPTEMBER, model, {**without, name: None}) == read(SEPTEMBER, model, without)
        else:
            assert problem(SEPTEMBER, model, {**body, name: None}).startswith(f"{name} must be ")


@pytest.mark.parametrize(
    ("revision", "model", "changes", "message"),
    [
        *(
            (MARCH, "t2v", {"duration": one}, 'duration must be one of "5", "8"')
            for one in (8, True, None, " 8", ["8"])
        ),
        *((MARCH, "t2v", {"prompt": one}, "prompt must be a string") for one in (1, ["a"], {"a": 1})),
        (MARCH, "t2v", {"prompt": " \n"}, "prompt must not be empty"),
        (MARCH, "lv", {"image": None}, "image must be a string, got null"),
        (MARCH, "lv", {"prompt": "one"}, "prompt must be a list of strings"),
        (MARCH, "lv", {"prompt": []}, "prompt must have 1 to 6 items, got 0"),
        (MARCH, "lv", {"prompt": ["a", "b", " "]}, "prompt [2] must not be empty"),
        (MARCH, "i2v", {"image": "ftp://a/b.png"}, "image must be a public http(s) URL or data:image/...;base64,..."),
        (MARCH, "i2v", {"image": "data:image/png;base64,aGVsbG8="}, "image holds no image"),
        (SEPTEMBER, "minimax", {"duration": "5"}, 'duration must be an integer from 5 to 20, got "5"'),
        (SEPTEMBER, "minimax", {"referenceImageUrls": [URL] * 5}, "referenceImageUrls must have 0 to 4 items, got 5"),
        (SEPTEMBER, "minimax", {"referenceImageUrls": [URL, "x"]}, "referenceImageUrls [1] must be a public http(s)"),
        (
            SEPTEMBER,
            "minimax",
            {"referenceAudioUrls": [PNG_URI]},
            "referenceAudioUrls [0] must be a public http(s) URL",
        ),
        (SEPTEMBER, "minimax", {"referenceVideoUrl": "data:video/mp4;base64,AA"}, "referenceVideoUrl must be a public"),
        (
            SEPTEMBER,
            "minimax",
            {"lastFrameUrl": URL, "referenceAudioUrls": [URL]},
            "lastFrameUrl cannot be used together with referenceAudioUrls",
        ),
        (SEPTEMBER, "seedance20", {"duration": 16}, "duration must be a number from 4 to 15, got 16"),
        (SEPTEMBER, "seedance20", {"resolution": "480"}, 'resolution must be one of 480, 720, got "480"'),
        (SEPTEMBER, "wan27", {"promptExtend": "yes"}, 'promptExtend must be a boolean, got "yes"'),
        (SEPTEMBER, "happyhorse", {"image": {"url": URL}}, "image must be a string or a list of strings, got"),
        (SEPTEMBER, "happyhorse", {"image": [PNG_URI, "x"]}, "image [1] must be a public http(s) URL or data:image"),
    ],
)
def test_a_wrong_field_is_named(revision: str, model: str, changes: dict[str, object], message: str) -> None:
    """With what its type allows. Which values each field allows is compared with its schema below."""
    assert problem(revision, model, valid(revision, model, **changes)).startswith(message)


@pytest.mark.parametrize(
    ("revision", "model", "body", "messages"),
    [
        (
            MARCH,
            "t2v",
            {"prompt": 1, "duration": 5},
            ["prompt must be a string", "aspectRatio is required", 'duration must be one of "5", "8", got 5'],
        ),
        (MARCH, "i2v", {"image": "x", "duration": 5}, ["duration must be", "image must be a public http(s) URL or"]),
        (
            SEPTEMBER,
            "minimax",
            {"content": "", "imageUrl": URL, "lastFrameUrl": "x", "referenceImageUrls": ["y", 5]},
            [
                "content must not be empty",
                "referenceImageUrls [1] must be a string",
                "imageUrl, lastFrameUrl cannot be used together with referenceImageUrls",
                "lastFrameUrl must be a public",
                "referenceImageUrls [0] must be a public",
            ],
        ),
        (SEPTEMBER, "wan27", {"prompt": "x"}, [f"{one} is required" for one in ("duration", "resolution", "ratio")]),
    ],
)
def test_all_that_is_wrong_is_named_at_once(
    revision: str, model: str, body: dict[str, Any], messages: list[str]
) -> None:
    found = problem(revision, model, body).split("; ")
    assert [one.startswith(message) for one, message in zip(found, messages, strict=True)] == [True] * len(messages)


def test_a_long_value_is_not_quoted_whole() -> None:
    assert len(problem(MARCH, "t2v", {**T2V, "prompt": ["x" * 10_000]})) < 200


def test_seedance_needs_a_prompt_an_image_or_a_video() -> None:
    rest = {key: value for key, value in valid(SEPTEMBER, "seedance20").items() if key != "prompt"}
    for name, value in (("prompt", "x"), ("image", PNG_URI), ("video", URL)):
        assert read(SEPTEMBER, "seedance20", {**rest, name: value, "audio": URL}).credits == 41
    assert problem(SEPTEMBER, "seedance20", rest) == "prompt, image or video is required"
    assert problem(SEPTEMBER, "seedance20", {**rest, "audio": URL}) == "audio needs prompt, image or video beside it"


@pytest.mark.parametrize(
    ("revision", "model", "message"),
    [
        (MARCH, "sora", "sora"),
        (MARCH, "x" * 100, "x" * 60 + "…"),
        *(
            (
                revision,
                model,
                f"{model} (revision {having} has it: start the simulator with --revision {having}, "
                f'or Simulator(revision="{having}"))',
            )
            for revision, model, having in ((MARCH, "wan27", SEPTEMBER), (SEPTEMBER, "lv", MARCH))
        ),
    ],
)
def test_an_unknown_model_is_refused_before_its_body_is_read(revision: str, model: str, message: str) -> None:
    """With a hint for those who have started the simulator in another revision than they meant."""
    with pytest.raises(Refusal) as refused:
        read_order(revision_named(revision), model, b"")
    assert (refused.value.status, refused.value.code) == (400, "INVALID_MODEL")
    assert refused.value.message == f"Unsupported model: {message}"


@pytest.mark.parametrize(
    ("revision", "model", "changes", "prompts", "aspect"),
    [
        (MARCH, "t2v", {}, ("a sunset",), "16:9"),
        (MARCH, "lv", {}, ("one", "two"), None),
        (MARCH, "i2v_v3", {}, ("",), None),
        (MARCH, "i2v", {"prompt": ""}, ("",), None),
        (SEPTEMBER, "minimax", {}, ("a sunset",), "16:9"),
        (SEPTEMBER, "minimax", {"aspectRatio": "auto"}, ("a sunset",), None),
        (SEPTEMBER, "seedance20", {"ratio": "9:16"}, ("a sunset",), "9:16"),
        (SEPTEMBER, "wan27", {"ratio": "3:4", "image": URL}, ("a sunset",), "3:4"),
        (SEPTEMBER, "happyhorse", {"image": None}, ("a sunset",), "16:9"),
        (SEPTEMBER, "happyhorse", {"image": [URL], "ratio": "1:1"}, ("a sunset",), None),
        (SEPTEMBER, "happyhorse", {"image": [URL, URL], "ratio": "1:1"}, ("a sunset",), "1:1"),
    ],
)
def test_an_order_has_the_prompts_and_the_shape_of_its_video(
    revision: str, model: str, changes: dict[str, object], prompts: tuple[str, ...], aspect: str | None
) -> None:
    order = read(revision, model, valid(revision, model, **changes))
    assert (order.prompts, order.aspect) == (prompts, aspect)


@pytest.mark.parametrize(
    ("model", "changes", "stored"),
    [
        ("minimax", {"imageUrl": PNG_URI, "lastFrameUrl": PNG_URI}, {"imageUrl": "s:/1", "lastFrameUrl": "s:/2"}),
        ("minimax", {"referenceImageUrls": [PNG_URI, URL, PNG_URI]}, {"referenceImageUrls": ["s:/1", URL, "s:/2"]}),
        ("happyhorse", {"image": [URL, PNG_URI]}, {"image": [URL, "s:/1"]}),
        ("happyhorse", {"image": PNG_URI}, {"image": "s:/1"}),
        ("t2v", {"image": "not an image field"}, {"image": "not an image field"}),
    ],
)
def test_images_in_base64_are_uploads_and_get_urls(
    model: str, changes: dict[str, object], stored: dict[str, object]
) -> None:
    order = read(SEPTEMBER, model, valid(SEPTEMBER, model, **changes))
    assert {upload.content for upload in order.uploads.values()} <= {PNG}
    numbers = iter(range(1, 9))
    assert order.with_urls(lambda _: f"s:/{next(numbers)}").input == valid(SEPTEMBER, model, **stored)
    assert order.input == valid(SEPTEMBER, model, **changes)


# --- bodies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        *(
            (body, "not valid JSON")
            for body in (
                *(b"", b"{", b"\xff\xfe{\x00}\x00", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": [1e999]}'),
                *(b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"),
            )
        ),
        *((body, "must be a JSON object") for body in (b"[]", b"null", b'"x"', b"1", b"true")),
        *((b'{"a": ' + b"[" * depth + b"]" * depth + b"}", "nested more than 64 levels") for depth in (70, 500)),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_body_that_is_not_a_json_object_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        read_object(body)


def test_a_nested_body_can_be_written_again() -> None:
    body = b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}"
    assert json.dumps(read_object(body)) == body.decode()


# --- headers -----------------------------------------------------------------------------------------


def test_submit_headers_are_optional_and_their_names_have_any_case() -> None:
    september = revision_named(SEPTEMBER)
    assert read_submit_headers({}, september) == SubmitHeaders()
    headers = CIMultiDict({"webhookurl": "https://a/b", "idempotency-key": "key-0001", "x-max-credits": "15"})
    expected = SubmitHeaders(webhook_url="https://a/b", idempotency_key="key-0001", budget=15)
    assert read_submit_headers(headers, september) == expected


@pytest.mark.parametrize(
    ("text", "budget"), [("0", 0), ("007", 7), ("000", 0), ("9" * 18, 10**18 - 1), ("9" * 10_000, None)]
)
def test_a_budget_is_a_whole_number_and_above_every_price_it_is_none(text: str, budget: int | None) -> None:
    assert read_submit_headers({"X-Max-Credits": text}, revision_named(SEPTEMBER)).budget == budget


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "1e3", "ten", "0x1", "\u0661", "1 000", "null"])
def test_another_budget_is_refused_where_there_are_budgets(text: str) -> None:
    with pytest.raises(Refusal, match="X-Max-Credits must be a whole number") as refused:
        read_submit_headers({"X-Max-Credits": text}, revision_named(SEPTEMBER))
    assert (refused.value.status, refused.value.code) == (400, "INVALID_PAYLOAD")
    assert read_submit_headers({"X-Max-Credits": text}, revision_named(MARCH)) == SubmitHeaders()


def test_a_webhook_is_an_http_url() -> None:
    with pytest.raises(Refusal, match=r"webhookUrl must be an http\(s\) URL") as refused:
        read_submit_headers({"webhookUrl": "ftp://a/b"}, revision_named(MARCH))
    assert (refused.value.status, refused.value.code) == (400, "INVALID_PAYLOAD")


# --- images ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, True) for text in ("http://a/b.png", "HTTPS://EXAMPLE.com/ä?x=1#y", "http://[::1]:80/")),
        *((text, False) for text in ("", "a.png", "//a/b", "ftp://a/b", "https://", "http:///a", "http://[::1")),
        ("http://a/b c", False),
    ],
)
def test_a_web_url_is_absolute_and_has_a_host(text: str, expected: bool) -> None:
    assert is_web_url(text) is expected


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0 jpeg", "image/jpeg"),
        (b"GIF89a...", "image/gif"),
        (b"RIFF\n\n\n\nWEBPVP8 ", "image/webp"),
        (b"BM" + bytes(20), "image/bmp"),
        (b"II*\x00....", "image/tiff"),
        (b"MM\x00*....", "image/tiff"),
        (b"\x00\x00\x00\x1cftypavif", "image/avif"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
    ],
)
def test_the_content_of_an_upload_decides_its_type(content: bytes, media_type: str) -> None:
    uri = f"data:image/anything;base64,{base64.b64encode(content).decode()}"
    upload = read_data_uri(uri)
    assert (upload.content, upload.media_type) == (content, media_type)
    assert upload == read_data_uri(uri)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("picture.png", "must be a public"),
        ("data:image/png,abc", "must be a public"),
        ("data:text/plain;base64,aGk=", "must be a public"),
        ("data:image/jpg;base64,/9j/4A==", "use image/jpeg"),
        ("data:image/png;base64,iVBO*w==", "not valid base64"),
        ("data:image/png;base64,iVBORw0KG", "not valid base64"),
        ("data:image/png;base64,é", "not valid base64"),
        ("data:image/png;base64,", "no image"),
        ("data:image/png;base64,aGVsbG8=", "no image"),
    ],
)
def test_a_bad_data_uri_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_data_uri(text)


# --- schemas -----------------------------------------------------------------------------------------

EDGES: list[object] = [
    *(None, True, False, 2, 3, 4, 5, 15, 16, 20, 21, 4.5, 5.0, 480, 720, 720.0, "", " ", "a", "5", "10", "720p", "1:1"),
    *("auto", "base", URL, [], ["a"], ["a", "b"], ["a"] * 7, [" "], [URL], [URL, 5], [URL] * 3, [URL] * 5, {}),
]
FORMATS = FormatChecker(())
# The format of a URI is checked by the same function, and that of an image not at all: it is decoded later.
FORMATS.checks("uri")(lambda value: not isinstance(value, str) or is_web_url(value))


@pytest.mark.parametrize(("revision", "model_name"), ALL)
def test_a_field_allows_exactly_what_its_schema_allows(revision: str, model_name: str) -> None:
    model = REVISIONS[revision].models[model_name]
    validator = Draft202012Validator(model.schema(), format_checker=FORMATS)
    for name, value in product((one.name for one in model.fields), EDGES):
        body = valid(revision, model_name, **{name: value})
        assert (not problems_of(model, body)) == validator.is_valid(body), (name, value)


@pytest.mark.parametrize(
    ("model_name", "names"),
    [
        ("minimax", ("imageUrl", "lastFrameUrl", "referenceImageUrls", "referenceVideoUrl", "referenceAudioUrls")),
        ("seedance20", ("prompt", "image", "video", "audio")),
    ],
)
def test_a_rule_allows_exactly_what_its_schema_allows(model_name: str, names: tuple[str, ...]) -> None:
    model = REVISIONS[SEPTEMBER].models[model_name]
    validator = Draft202012Validator(model.schema(), format_checker=FORMATS)
    base = {name: value for name, value in valid(SEPTEMBER, model_name).items() if name not in names}
    for values in product((..., None, [], URL, [URL]), repeat=len(names)):
        body = {**base, **{name: one for name, one in zip(names, values, strict=True) if one is not ...}}
        assert (not problems_of(model, body)) == validator.is_valid(body), body
