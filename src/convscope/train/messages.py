"""What the processes of one run say to each other in words: short texts in a store that all of them reach.

Numbers that are added up go by way of ``torch.distributed``. Decisions, paths and small states come here, as JSON or
safetensors: nothing that another process sent is ever unpickled. Waiting has no limit, and needs none: a process that
fails says so, and whoever waits for it hears that at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from torch._C._distributed_c10d import Store

from convscope.errors import RunError

SHORTEST_PAUSE, LONGEST_PAUSE = 0.0005, 0.1  # seconds between two looks of whoever waits; each is twice the one before
FAILED = "failed"


class OtherProcessFailed(RunError):
    """The cause lies in another process of this run, and that one says what it is."""


class Messages:
    """Texts between the processes of one run, put away when everybody has read them.

    Every process must say and read the same things in the same order.

    Args:
        store: Reached by all of them, and empty at first.
        rank: Number of this process, from 0.
        size: How many there are.

    Example:
        >>> from torch.distributed import HashStore
        >>> Messages(HashStore(), 0, 1).gather(b"alone")
        [b'alone']
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size
        self._store = store
        self._numbers = count()
        self._alarms = [FAILED]

    def tell(self, content: bytes) -> bytes:
        """What rank 0 has, given to everybody; what others bring is not looked at."""
        key = str(next(self._numbers))
        if self.rank == 0:
            self._put(key, content)
            return content
        self._wait([key])
        return self._read([key], readers=self.size - 1)[0]

    def gather(self, content: bytes) -> list[bytes]:
        """What every process has, in the order of ranks."""
        keys = self._say(content)
        self._wait(keys)
        return self._read(keys, readers=self.size)

    def collect(self, content: bytes) -> list[bytes]:
        """What every process has, in the order of ranks, for rank 0; an empty list for the others."""
        keys = self._say(content)
        if self.rank:
            return []
        self._wait(keys)
        return self._read(keys, readers=1)

    @contextmanager
    def in_turn(self, first: int) -> Iterator[None]:
        """One process goes first; those that name it follow when it is through.

        Args:
            first: Its rank.
        """
        key = f"{next(self._numbers)}/{first}"
        if first != self.rank:
            self._wait([key])
        yield
        if first == self.rank:
            self._put(key, b"")

    @contextmanager
    def together(self) -> Iterator[None]:
        """A part that all processes get through, or none.

        Raises:
            OtherProcessFailed: Another process did not, or did not for the same reason and says so.
        """
        number = next(self._numbers)
        alarm, failure = f"{number}/{FAILED}", None
        self._alarms.append(alarm)
        try:
            yield
        except Exception as error:
            failure = error
            self._ring(alarm)
        self._alarms.remove(alarm)
        own = None if failure is None or isinstance(failure, OtherProcessFailed) else str(failure) or repr(failure)
        keys = [f"{number}/{rank}" for rank in range(self.size)]
        self._put(keys[self.rank], json.dumps(own).encode())
        self._wait(keys)
        causes = [json.loads(answer) for answer in self._read(keys, readers=self.size)]
        if failure is not None and own is not None and causes.index(own) == self.rank:
            raise failure
        failed = next((rank for rank, cause in enumerate(causes) if cause is not None), None)
        if failed is not None:
            raise self._failed(failed) from failure

    def leave(self) -> None:
        """Tell whoever waits, now or later, that this process failed and answers no more."""
        self._ring(FAILED)

    def _say(self, content: bytes) -> list[str]:
        number = next(self._numbers)
        keys = [f"{number}/{rank}" for rank in range(self.size)]
        self._put(keys[self.rank], content)
        return keys

    def _put(self, key: str, content: bytes) -> None:
        self._store.set(key, content)  # type: ignore[arg-type]  # bytes are as welcome as text

    def _wait(self, keys: list[str]) -> None:
        """Until all keys are there, however long it takes, as long as nobody has failed."""
        pause = SHORTEST_PAUSE
        while not self._store.check(keys):  # a store's own wait complains aloud when its time is over
            for alarm in self._alarms:
                if self._store.check([alarm]):
                    raise self._failed(int(self._store.get(alarm)))
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _read(self, keys: list[str], *, readers: int) -> list[bytes]:
        """Get what was said; the last reader puts it away, for a run may last for weeks."""
        contents = [self._store.get(key) for key in keys]
        counter = f"{keys[0]}/read"
        if self._store.add(counter, 1) == readers:
            for key in [*keys, counter]:
                self._store.delete_key(key)
        return contents

    def _ring(self, alarm: str) -> None:
        self._store.compare_set(alarm, "", str(self.rank))  # the first to fail is the one to ask

    def _failed(self, rank: int) -> OtherProcessFailed:
        return OtherProcessFailed(f"rank {rank} of {self.size} processes failed, and its own message says why")
