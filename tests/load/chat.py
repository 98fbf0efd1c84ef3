"""Pairs of users who write to each other: how many messages a second arrive, how late, and whether all of them do."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.load.load import percentiles
from tests.stack import Client, Stack
from tools.local import users

# How long the last messages may take.
_LAST_SECONDS, _POLL_SECONDS = 60, 0.25


class Writer:
    """One user of a pair."""

    def __init__(self, stack: Stack, name: str) -> None:
        """Signs the user in."""
        self.client = Client(stack.api_url, users.token(stack.port, name))
        self.name = name
        # When each text that was sent got its 201, and when each text of the contact was listed, in order.
        self.sent: dict[str, float] = {}
        self.received: list[tuple[str, float]] = []
        self.own: list[str] = []
        self._newest: str | None = None

    def begin(self, contact: "Writer") -> None:
        """Creates the conversation with *contact*, in which both write."""
        self.conversation, self.contact = self.client.create(contact_id=contact.client.user_id), contact

    def write(self, until: float, pause: float) -> None:
        """Sends and lists messages in turn until the time *until*, with a *pause* before each message."""
        while time.monotonic() < until:
            self._read_until(time.monotonic() + pause)
            text = f"{self.name}, {len(self.sent)}"
            self.client.send_message(self.conversation, text)
            self.sent[text] = time.monotonic()
            self._read()

    def finish(self, until: float) -> None:
        """Lists until all messages of the contact have arrived, or until the time *until*."""
        self._read()
        while len(self.received) < len(self.contact.sent) and time.monotonic() < until:
            self._read_until(time.monotonic() + _POLL_SECONDS)

    def failures(self) -> list[str]:
        """Returns what is wrong with the mailbox: everything must be there once, in the order of sending."""
        received = [text for text, _ in self.received]
        expected = {"own": (self.own, list(self.sent)), "the contact's": (received, list(self.contact.sent))}
        return [
            f"{self.name} has {len(found)} of {len(sent)} of {whose} messages, or another order"
            for whose, (found, sent) in expected.items()
            if found != sent
        ]

    def _read_until(self, until: float) -> None:
        while time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
            self._read()

    def _read(self) -> None:
        query = {"conversation_id": self.conversation["id"], "ending_before": self._newest}
        listed = self.client.messages(limit=100, **query)["data"]
        now = time.monotonic()
        for message in reversed(listed):
            self._newest = message["id"]
            if message["contact"] is None:
                self.own.append(message["message"])
            else:
                self.received.append((message["message"], now))


class Chat:
    """Pairs of users of *stack*."""

    def __init__(self, stack: Stack, pairs_count: int) -> None:
        """Creates the users and their conversations."""
        pairs = [[Writer(stack, f"chat-{number}-{side}") for side in "ab"] for number in range(pairs_count)]
        for one, other in pairs:
            one.begin(other)
            other.begin(one)
        self._writers = [writer for pair in pairs for writer in pair]

    def run(self, seconds: float, pause: float = 0) -> None:
        """Has all users write for *seconds*, each with a *pause* before each message."""
        self._seconds, self._started = seconds, time.monotonic()
        with ThreadPoolExecutor(len(self._writers)) as pool:
            list(pool.map(lambda writer: writer.write(self._started + seconds, pause), self._writers))
            list(pool.map(lambda writer: writer.finish(self._started + seconds + _LAST_SECONDS), self._writers))
        for writer in self._writers:
            writer.client.close()

    def result(self) -> dict[str, Any]:
        """Returns the figures for the report."""
        sent = sum(len(writer.sent) for writer in self._writers)
        arrivals = [(at, writer.contact.sent.get(text, at)) for writer in self._writers for text, at in writer.received]
        duration = max((at for at, _ in arrivals), default=self._started + 1) - self._started
        # A message may be listed before its sender's 201.
        delays = percentiles([max(0, at - sent_at) * 1000 for at, sent_at in arrivals])
        return {
            "pairs": len(self._writers) // 2,
            "seconds": round(self._seconds),
            "sent": sent,
            "delivered": len(arrivals),
            "sent_per_second": round(sent / self._seconds, 1),
            "delivered_per_second": round(len(arrivals) / duration, 1),
            "delay": {name: round(ms / 1000, 2) for name, ms in delays.items()},
            "failures": [failure for writer in self._writers for failure in writer.failures()],
        }
