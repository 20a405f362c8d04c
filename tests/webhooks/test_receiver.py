"""The receiver by itself: its URLs, what it answers, and what it passes on to the client."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import ConfigurationError
from aivideomaker_async._redaction import Secret
from aivideomaker_async.webhooks import WebhookReceiver, WebhookStatistics
from aivideomaker_async.webhooks.receiver import content_length, may_be_end
from tests.support.hooks import END, NO_END, Exchange, FakeClient, deliver, path_of, receiver_of

pytestmark = pytest.mark.anyio

SECRET = "a secret that two workers share"


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    """Bodies that never end are waited for; the tests are not."""
    return virtual_clock


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def receiver(client: FakeClient) -> WebhookReceiver:
    """A receiver that is mounted nowhere."""
    return receiver_of(client)


@pytest.fixture
def path(receiver: WebhookReceiver) -> str:
    """The path of a right delivery."""
    return path_of(receiver.url_for())


# --- URLs ----------------------------------------------------------------------------------------


def test_a_url_is_the_public_one_with_a_token(receiver: WebhookReceiver) -> None:
    """A new one each time."""
    one, two = receiver.url_for(), receiver.url_for()
    assert one != two
    assert one.startswith("https://example.com/hooks/")
    assert len(one) == len(two) == len("https://example.com/hooks/") + 64


def test_the_url_of_a_reference_is_the_same_in_every_process(receiver: WebhookReceiver) -> None:
    """And after a restart; another for another reference, key or secret."""
    url = receiver.url_for("order 17")
    assert receiver_of(FakeClient()).url_for("order 17") == url
    others = [
        receiver.url_for("order 18"),
        receiver_of(FakeClient("ak_other")).url_for("order 17"),
        receiver_of(FakeClient(), secret=SECRET).url_for("order 17"),
    ]
    assert len({url, *others}) == 4
    assert "order" not in url


@pytest.mark.parametrize("secret", [SECRET, SECRET.encode(), "\udcff" * 16])
async def test_workers_with_a_secret_of_their_own_agree(secret: str | bytes) -> None:
    """Whatever their keys are."""
    one, two = receiver_of(FakeClient("ak_one"), secret=secret), receiver_of(FakeClient("ak_two"), secret=secret)
    assert one.url_for("x") == two.url_for("x")
    assert await deliver(two, one.url_for()) == 200


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://example.com", "https://example.com/"),
        ("https://example.com/", "https://example.com/"),
        ("http://127.0.0.1:8080/a/b/", "http://127.0.0.1:8080/a/b/"),
        (" https://example.com/hooks\n", "https://example.com/hooks/"),
        ("http://[::1]:8080", "http://[::1]:8080/"),
    ],
)
def test_a_public_url_may_have_a_port_and_a_path(client: FakeClient, given: str, kept: str) -> None:
    """And a slash at its end, or not."""
    assert receiver_of(client, given).url_for().startswith(kept)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "example.com/SECRETS",
        "ftp://example.com/SECRETS",
        "https:///SECRETS",
        "https://example.com/SECRETS?x=1",
        "https://example.com/SECRETS#x",
        "https://me:SECRETS@example.com",
        "https://example.com/SEC RETS",
        "https://exämple.com/SECRETS",
        "https://example.com:99999/SECRETS",
        None,
        7,
    ],
)
def test_a_public_url_that_is_none_is_refused(client: FakeClient, wrong: Any) -> None:
    """The message has what is allowed, and does not show what may be a secret."""
    with pytest.raises(ConfigurationError, match=r"^public_url: must be http\(s\)://host") as caught:
        receiver_of(client, wrong)
    assert "SECRETS" not in str(caught.value)
    assert caught.value.__context__ is None or "SECRETS" not in str(caught.value.__context__)
    assert client.receivers == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"secret": "too short"}, "secret: must be"),
        ({"secret": b""}, "secret: must be"),
        ({"secret": 10**20}, "secret: must be"),
        ({"largest_body": 0}, "largest_body=0"),
        ({"body_timeout": 0}, "body_timeout=0"),
    ],
)
def test_options_without_sense_are_refused(client: FakeClient, options: Mapping[str, Any], message: str) -> None:
    """At once, and a secret is not shown."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        receiver_of(client, **options)
    assert "too short" not in str(caught.value)


@pytest.mark.parametrize("reference", ["", 17, b"x"])
def test_a_reference_is_a_text(receiver: WebhookReceiver, reference: Any) -> None:
    """An empty one would be the same for every task that has none."""
    with pytest.raises(ConfigurationError, match=r"^reference=.*: must be a text"):
        receiver.url_for(reference)


# --- deliveries --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "is_end"), [(END, True), (NO_END, False), (b"", True), (b"\xff", True)])
async def test_a_delivery_wakes_the_client(
    client: FakeClient, receiver: WebhookReceiver, body: bytes, is_end: bool
) -> None:
    """Whichever process has made its URL, and as urgently as the body requires."""
    for url in (receiver.url_for(), receiver.url_for("order 17"), receiver_of(FakeClient()).url_for()):
        assert await deliver(receiver, url, body) == 200
    assert client.wakes == [is_end] * 3
    assert receiver.statistics() == WebhookStatistics(received=3)


@pytest.mark.parametrize("suffix", ["", "/", "?x=1", "#y"])
def test_a_url_that_was_added_to_is_still_ours(client: FakeClient, receiver: WebhookReceiver, suffix: str) -> None:
    """The client asks for the URL of every submit, as the user has passed it."""
    (is_url_of,) = client.receivers
    assert is_url_of(Secret(receiver.url_for() + suffix))


def test_urls_of_others_are_not_ours(client: FakeClient, receiver: WebhookReceiver) -> None:
    """Those of other receivers, and those that are no receiver's."""
    other = receiver_of(FakeClient(), secret=SECRET)
    (is_url_of,) = client.receivers
    for url in (other.url_for(), "https://example.com/hooks", "https://example.com/hooks/", ""):
        assert not is_url_of(Secret(url))


async def test_a_wrong_token_is_refused_unread_and_without_a_log_line(
    client: FakeClient, receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Above DEBUG; and be they thousands."""
    with caplog.at_level(logging.INFO):
        for number in range(1000):
            exchange = Exchange(f"/hooks/{number:064x}", b"x" * 1000)
            assert await exchange.run(receiver) == 404
            assert exchange.reads == 0
    assert caplog.records == []
    assert client.wakes == []
    assert receiver.statistics() == WebhookStatistics(refused=1000)


def test_deliveries_in_several_threads_are_all_counted(receiver: WebhookReceiver) -> None:
    """Also after a fork of the process, in which nothing holds the lock."""

    def refuse() -> None:
        for _ in range(2000):
            receiver._is_valid("/x")

    receiver._lock.acquire()
    receiver._renew_lock()
    threads = [Thread(target=refuse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert receiver.statistics().refused == 8000


# --- secrets -----------------------------------------------------------------------------------------


async def test_nothing_shows_a_token(receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture) -> None:
    """No repr, no log line at any level."""
    url = receiver.url_for()
    with caplog.at_level(logging.DEBUG, logger="aivideomaker_async"):
        for where in (url, url[:-1], "https://example.com/hooks/"):
            await deliver(receiver, where)
        await Exchange(path_of(url), RuntimeError(url)).run(receiver)
    assert len(caplog.records) == 5
    shown = caplog.text + repr(receiver) + repr(receiver.statistics()) + repr(vars(receiver)["_secret"])
    token = url.rpartition("/")[2]
    assert token not in shown
    assert token[:32] not in shown


def test_the_repr_shows_the_host_only(client: FakeClient) -> None:
    """A path can be a secret, too."""
    receiver = receiver_of(client, "https://example.com:8443/SECRET/hooks", secret=SECRET)
    assert repr(receiver) == "<WebhookReceiver example.com>"


# --- bodies --------------------------------------------------------------------------------------


async def test_a_body_comes_in_pieces(client: FakeClient, receiver: WebhookReceiver, path: str) -> None:
    """A word may be cut between two."""
    assert await Exchange(path, b'{"status":"PROGR', b"", b'ESS","also":"COMPL', b'ETED"}').run(receiver) == 200
    assert await Exchange(path, b'{"status":"PROGR', b'ESS"}').run(receiver) == 200
    assert client.wakes == [True, False]


@pytest.mark.parametrize(("size", "status"), [(99, 200), (100, 200), (101, 413)])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_body_is_refused(client: FakeClient, size: int, status: int, announced: bool) -> None:
    """Unread when its length is announced. That something has changed is known all the same."""
    receiver = receiver_of(client, largest_body=100)
    url = receiver.url_for()
    body = b"PROGRESS" + b" " * (size - 8)
    headers = [(b"host", b"x"), (b"Content-Length", str(size).encode())] if announced else []
    exchange = Exchange(path_of(url), body[:60], body[60:], headers=headers)
    assert await exchange.run(receiver) == status
    assert exchange.reads == (0 if announced and size > 100 else 2)
    assert client.wakes == [status == 413]
    assert receiver.statistics().too_large == (status == 413)
    assert receiver.statistics().received == 1


async def test_a_malformed_length_is_ignored(receiver: WebhookReceiver, path: str) -> None:
    """The bytes that come are counted."""
    assert await Exchange(path, END, headers=[(b"content-length", b"nonsense")]).run(receiver) == 200


async def test_a_body_that_dribbles_in_is_waited_for_but_not_long(
    client: FakeClient, receiver: WebhookReceiver, path: str
) -> None:
    """After two seconds it is answered without; it might have been an end."""
    exchange = Exchange(path, NO_END)
    receive = exchange.receive

    async def dribble() -> dict[str, object]:
        return {**await receive(), "more_body": True}

    began = asyncio.get_running_loop().time()
    await receiver(exchange.scope, dribble, exchange.send)
    assert 1.9 < asyncio.get_running_loop().time() - began < 2.5
    assert exchange.sent[0]["status"] == 200
    assert client.wakes == [True]


@pytest.mark.parametrize("trouble", [None, RuntimeError("the server is broken"), ConnectionResetError()])
async def test_a_sender_that_goes_away_is_no_error(
    client: FakeClient,
    receiver: WebhookReceiver,
    path: str,
    trouble: Exception | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While it sends, or before the answer: the delivery has come."""
    exchange = Exchange(path, b'{"status":', trouble)
    exchange.sending_fails = BrokenPipeError()
    assert await exchange.run(receiver) == 0
    assert client.wakes == [True]
    assert caplog.records == []


async def test_a_request_that_the_server_gives_up_has_come(
    client: FakeClient, receiver: WebhookReceiver, path: str
) -> None:
    """The cancellation goes on, and leaves nothing behind."""
    exchange = Exchange(path, NO_END)
    exchange.reads = 1
    exchange.pieces.clear()
    serving = asyncio.ensure_future(exchange.run(receiver))
    await asyncio.sleep(1)
    serving.cancel()
    await asyncio.wait([serving])
    assert serving.cancelled()
    assert client.wakes == [True]


# --- what a body can mean ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"taskId": "ck1", "status": "COMPLETED"}',
        b'{"status":"FAILED"}',
        b'{"status":"CANCEL"}',
        b'{"status":"CANCELLED"}',
        b"status=COMPLETED&id=ck1",
        b'{"from":"PROGRESS","to":"COMPLETED"}',
        b'{"status":"QUEUED"}',
        b'{"status":"IN_PROGRESS"}',
        b'{"status":"progress"}',
        b'{"status":"PROGRESSING"}',
        b"\x00\xff\xfe",
        '{"status":"PROGRESS"}'.encode("utf-16"),
    ],
)
def test_what_can_be_an_end_may_be_end(body: bytes) -> None:
    """And everything that is not understood."""
    assert may_be_end(body)
    assert may_be_end(bytearray(body))


@pytest.mark.parametrize(
    "body",
    [
        b'{"taskId": "ck1", "status": "PROGRESS"}',
        b'{"status":"SUBMITTED"}',
        b"status=PROGRESS",
        b"PROGRESS",
        b'{"status":"PROGRESS","completedAt":null}',
        b'{"from":"SUBMITTED","to":"PROGRESS"}',
    ],
)
def test_a_body_with_only_the_words_of_a_running_task_is_no_end(body: bytes) -> None:
    """In any notation."""
    assert not may_be_end(body)


@given(st.binary(max_size=200), st.binary(max_size=200), st.sampled_from([b"COMPLETED", b"FAILED", b"CANCEL"]))
def test_an_end_is_seen_wherever_it_stands(before: bytes, after: bytes, word: bytes) -> None:
    """Between any bytes."""
    assert may_be_end(before + b" PROGRESS " + word + after)


names = st.text(alphabet="abc", max_size=3)
values = st.recursive(st.none() | st.integers() | st.just("PROGRESS"), lambda inner: st.dictionaries(names, inner))


@given(values)
def test_the_structure_of_a_body_does_not_matter(value: object) -> None:
    """It is not parsed."""
    body = json.dumps(value).encode()
    assert may_be_end(body) == (b"PROGRESS" not in body)


def test_a_body_that_breaks_parsers_is_no_trouble() -> None:
    assert may_be_end(b"[" * 65536)
    assert not may_be_end(b"[" * 65000 + b'"PROGRESS"')


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"0", 0),
        (b"17", 17),
        (b"0017", 17),
        (b"", None),
        (b"-1", None),
        (b"+1", None),
        (b" 1", None),
        (b"1.5", None),
        (b"1,1", None),
        (b"\xb2", None),
        (b"9" * 10_000, 10**18 - 1),
    ],
)
def test_a_content_length_is_a_plain_number(value: bytes, length: int | None) -> None:
    """A number that no interpreter would take is a large one."""
    assert content_length(value) == length


# --- other kinds of connections ------------------------------------------------------------------


async def test_websockets_are_refused(client: FakeClient, receiver: WebhookReceiver, path: str) -> None:
    """Before they are accepted, with a right token or without."""
    exchange = Exchange(path, type="websocket")
    await exchange.run(receiver)
    assert exchange.sent == [{"type": "websocket.close", "code": 1008}]
    assert client.wakes == []


async def test_an_unknown_kind_of_connection_is_an_error(receiver: WebhookReceiver) -> None:
    """As ASGI has it, so that a server knows."""
    with pytest.raises(RuntimeError, match="serves http, not 'smtp'"):
        await Exchange("/", type="smtp").run(receiver)


async def test_the_lifespan_is_answered(receiver: WebhookReceiver) -> None:
    """Of a server that runs the receiver alone."""
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Mapping[str, object]] = []

    async def receive() -> Mapping[str, object]:
        return events.pop(0)

    async def send(message: Mapping[str, object]) -> None:
        sent.append(message)

    await receiver({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize(
    ("path", "root_path", "mine"),
    [
        ("/hooks/x", "", True),
        ("/hooks/x/y", "", True),
        ("/hooks", "", False),
        ("/hookshot/x", "", False),
        ("/api/hooks/x", "", False),
        ("/api/hooks/x", "/api", True),
        ("/hooks/x", "/api", True),
        ("/", "", False),
    ],
)
@pytest.mark.parametrize("spelled", ["/hooks", "hooks", "/hooks/"])
async def test_beside_another_application_it_gets_what_is_below_its_path(
    receiver: WebhookReceiver, path: str, root_path: str, mine: bool, spelled: str
) -> None:
    """And the other one gets the rest, the lifespan included."""
    served: list[str] = []

    async def other(scope: Any, receive: Any, send: Any) -> None:
        served.append(scope["type"])

    app = receiver.beside(other, spelled)
    assert await Exchange(path, root_path=root_path).run(app) == (404 if mine else 0)
    assert served == ([] if mine else ["http"])
    await app({"type": "lifespan"}, None, None)
    assert served[-1] == "lifespan"


@pytest.mark.parametrize("path", ["", "/", "//", None])
def test_beside_another_application_it_needs_a_path(receiver: WebhookReceiver, path: Any) -> None:
    """Or nothing would be left for the other."""
    with pytest.raises(ConfigurationError, match=r"^path=.*: must be"):
        receiver.beside(receiver, path)
