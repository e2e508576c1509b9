"""Asking a model's server: what is tried again, what is refused, and how long it is waited."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from repodrome.envs.chat import ChatEndpoint, ChatRefusedError
from repodrome.errors import InfraError, UsageError
from tests.fakes.chat_server import CUT, ChatServer, Reply, refused

BODY = {"model": "m", "messages": [{"role": "user", "content": "Grüße 🎵"}]}


def ask(server: ChatServer, **settings: Any) -> tuple[str, list[str]]:
    """What the model says, and what was told meanwhile."""
    told: list[str] = []
    endpoint = ChatEndpoint(server.url, **settings)
    answer = asyncio.run(asyncio.wait_for(endpoint.complete(BODY, told.append), 60))
    return answer["choices"][0]["message"]["content"], told


def test_a_question_is_answered() -> None:
    with ChatServer("Hello.") as server:
        assert ask(server, key="k3y") == ("Hello.", [])
        assert server.asked == [BODY] and server.keys == ["Bearer k3y"]
        ask(server)
        assert server.keys[-1] is None
    assert "k3y" not in repr(ChatEndpoint("http://x/v1", key="k3y"))


@pytest.mark.parametrize(
    "trouble",
    [refused(429, "slow down"), refused(503, "busy"), refused(408, "late"), CUT],
    ids=["429", "503", "408", "cut"],
)
def test_what_may_pass_is_tried_again(trouble: Reply) -> None:
    with ChatServer(trouble, "Hello.") as server:
        said, told = ask(server, retries=1)
        assert said == "Hello." and len(server.asked) == 2
        assert len(told) == 1 and "asking again in 0." in told[0]
    with ChatServer(trouble) as server, pytest.raises(InfraError) as failed:
        ask(server, retries=0)
    assert not isinstance(failed.value, ChatRefusedError) and len(server.asked) == 1


def test_retry_after_is_honoured() -> None:
    with ChatServer(refused(429, "slow down", Retry_After="0.7"), "Hello.") as server:
        assert "asking again in 0.7 s" in ask(server)[1][0]
    with ChatServer(refused(503, "starting", Retry_After="soon"), "Hello.") as server:
        assert ask(server)[0] == "Hello."


def test_nobody_waits_for_an_hour() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    for wish, seconds in (("3600", "3600"), (later, "7")):
        with ChatServer(refused(429, "quota", Retry_After=wish)) as server:
            with pytest.raises(InfraError, match=f"wants to be left alone for {seconds}"):
                ask(server)
            assert len(server.asked) == 1


@pytest.mark.parametrize("status", [307, 400, 401, 404, 422])
def test_what_cannot_pass_is_asked_once(status: int) -> None:
    with ChatServer(refused(status, "no.", code="because")) as server:
        with pytest.raises(ChatRefusedError, match=f"status {status}: no") as failed:
            ask(server)
        assert len(server.asked) == 1
    assert (failed.value.status, failed.value.code) == (status, "because")
    assert not failed.value.context_full


@pytest.mark.parametrize(
    "reply",
    [
        refused(400, "This model's maximum context length is 4096 tokens. However, you"),
        refused(400, "too long", code="context_length_exceeded"),
        refused(500, "Context size has been exceeded."),
        refused(413, "Prompt is too long: 9000 tokens"),
        refused(400, "The input is longer than the model's context length (4096 tokens)."),
        refused(400, "Please reduce the length of the messages or completion."),
        Reply({"error": {"code": 400, "message": "x", "type": "exceed_context_size_error"}}),
        Reply({"message": "maximum context length is 16 tokens", "code": 400}, 400),
        Reply({"detail": "The prompt is too large"}, 422),
        Reply(b"the request exceeds the available context size", 400),
    ],
    ids=lambda reply: str(reply.body)[:40],
)
def test_a_full_context_in_the_words_of_many_servers(reply: Reply) -> None:
    with ChatServer(reply) as server, pytest.raises(ChatRefusedError) as failed:
        ask(server)
    assert failed.value.context_full and len(server.asked) == 1


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"", "x", {}, {"choices": []}, {"choices": [{"text": "x"}]}, [], b"[" * 9999],
    ids=lambda body: str(body)[:20],
)
def test_what_is_no_completion(body: Any) -> None:
    with ChatServer(Reply(body)) as server:
        with pytest.raises(InfraError, match="no chat completion"):
            ask(server)
        assert len(server.asked) == 1


def test_an_error_in_an_answer_that_says_ok() -> None:
    busy = Reply({"error": {"code": 429, "message": "upstream is busy"}})
    with ChatServer(busy, "Hello.") as server:
        assert ask(server)[0] == "Hello."
    broken = Reply({"error": "broken"})
    with ChatServer(broken) as server, pytest.raises(InfraError, match="502"):
        ask(server, retries=0)


def test_a_server_that_is_not_there() -> None:
    with ChatServer("x") as server:
        pass
    with pytest.raises(InfraError, match=r"can't be reached \(ConnectError: "):
        ask(server, retries=0)


def test_one_that_never_answers() -> None:
    never = threading.Event()
    with ChatServer(Reply("x", after=never)) as server:
        with pytest.raises(InfraError, match=r"no answer in 0\.2 s"):
            ask(server, timeout=0.2, retries=0)
        never.set()


@pytest.mark.parametrize(
    ("url", "key", "fix"),
    [
        ("", "", "no endpoint is known"),
        ("localhost:8000/v1", "", "no web address"),
        ("http://", "", "no web address"),
        ("http://x:port/v1", "", "no web address"),
        ("http://x/v1", "kéy", "OPENAI_API_KEY is no API key"),
    ],
)
def test_a_wrong_environment(url: str, key: str, fix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UsageError, match=fix):
        ChatEndpoint.from_environment("somebody asks", "agent")


def test_passwords_are_not_shown() -> None:
    assert ChatEndpoint("https://me:pw@host:1/v1").place == "https://host:1/v1"
