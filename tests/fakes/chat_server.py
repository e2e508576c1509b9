"""A small server of chat completions, whose model says what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Reply:
    """An answer as it goes over the wire.

    Attributes:
        body: sent as JSON, or as it is where it is bytes; None: the connection is cut instead.
        after: not sent before this is set.
    """

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    after: threading.Event | None = None


Answer = str | Mapping[str, Any] | Reply | Callable[[dict[str, Any]], Any]
CUT = Reply(None)


def calls(*made: tuple[str, Any], content: str | None = None, **more: Any) -> dict[str, Any]:
    """A message with tool calls: name, and arguments as an object or as raw text."""
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [
            {
                "id": f"chatcmpl-tool-{place}-{name}",
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": given if isinstance(given, str) else json.dumps(given),
                },
            }
            for place, (name, given) in enumerate(made)
        ],
        **more,
    }


def completion(message: Mapping[str, Any] | str, **more: Any) -> dict[str, Any]:
    """A whole answer around a message, or around a text; ``more`` goes into the choice."""
    if isinstance(message, str):
        message = {"role": "assistant", "content": message}
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": reason, **more}],
        "usage": {
            "prompt_tokens": 1000,
            "completion_tokens": 10,
            "total_tokens": 1010,
            "completion_tokens_details": {"reasoning_tokens": 4},
            "prompt_tokens_details": None,
        },
    }


def refused(status: int, message: str, *, code: Any = None, **headers: str) -> Reply:
    """An error in the form that most servers use."""
    error = {"message": message, "type": "invalid_request_error", "code": code}
    return Reply({"error": error}, status, {k.replace("_", "-"): v for k, v in headers.items()})


class ChatServer(ThreadingHTTPServer):
    """Gives its answers in order; the last one stays.

    An answer is a text, a message, a :class:`Reply`, or a function that makes one of a request.

    Attributes:
        asked: the bodies of the requests.
        keys: their authorisation.
    """

    daemon_threads = True

    def __init__(self, *answers: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def next(self, body: dict[str, Any], key: str | None) -> Reply:
        with self.lock:
            self.asked.append(body)
            self.keys.append(key)
            answer: Any = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer(body)
        return answer if isinstance(answer, Reply) else Reply(completion(answer))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no news."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            reply = refused(404, f"no such path: {self.path}")
        else:
            reply = self.server.next(body, self.headers.get("Authorization"))
        if reply.after is not None:
            reply.after.wait(60)
        if reply.body is None:
            return
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        return None
