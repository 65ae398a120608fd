"""A load generator that costs less than what it measures: raw sockets, one request in flight per connection."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Load:
    """What came back."""

    seconds: float = 0.0
    statuses: Counter = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)  # seconds, of answered requests
    failures: list[str] = field(default_factory=list)  # requests without an answer

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """Latency in milliseconds that `share` of the answers kept below."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load, make_request: Callable[[], bytes], on_answer, until: float):
        self.load, self.make_request, self.on_answer, self.until = load, make_request, on_answer, until
        self.buffer, self.done, self.sent = b"", asyncio.get_running_loop().create_future(), None

    def connection_made(self, transport) -> None:
        self.transport = transport
        self._send()

    def _send(self) -> None:
        if time.perf_counter() >= self.until:
            self.sent = None
            self.transport.close()
            return
        request = self.make_request()
        self.sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self.load.latencies.append(time.perf_counter() - self.sent)
        status = int(head[9:12])
        self.load.statuses[status] += 1
        self.buffer, self.sent = b"", None
        if self.on_answer:
            self.on_answer(status, body)
        if b"connection: close" in head.lower():
            self.transport.close()
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self.sent is not None:
            self.load.failures.append(repr(error) if error else "closed without an answer")
        if not self.done.done():
            self.done.set_result(None)


def post(path: str, body: dict | bytes, **headers: str) -> bytes:
    """One POST request as it goes over the wire."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


async def run_load(
    port: int,
    make_request: Callable[[], bytes],
    seconds: float,
    connections: int = 16,
    on_answer: Callable[[int, bytes], None] | None = None,
    reconnect: bool = False,
) -> Load:
    """Keep `connections` requests in flight for `seconds`."""
    load, started = Load(), time.perf_counter()
    until = started + seconds
    loop = asyncio.get_running_loop()

    async def keep_asking() -> None:
        while True:
            try:
                _, connection = await loop.create_connection(
                    lambda: _Connection(load, make_request, on_answer, until), "127.0.0.1", port
                )
                await connection.done
            except OSError as error:
                if not reconnect:
                    load.failures.append(repr(error))
                await asyncio.sleep(0.02)
            if not reconnect or time.perf_counter() >= until:
                return

    await asyncio.gather(*(keep_asking() for _ in range(connections)))
    load.seconds = time.perf_counter() - started
    return load


def measure(port: int, request: bytes, seconds: float, connections: int = 16) -> Load:
    """Send the same request again and again."""
    return asyncio.run(run_load(port, lambda: request, seconds, connections))
