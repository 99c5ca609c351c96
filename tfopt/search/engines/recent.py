"""What was made lately, by key."""

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class RecentLists(OrderedDict[str, list[T]], Generic[T]):
    """A list for each key, empty at first; of more than `limit` keys those used longest ago are dropped.

    Args:
        limit: Most keys to keep.
    """

    def __init__(self, limit: int):
        super().__init__()
        self._limit = limit

    def __missing__(self, key: str) -> list[T]:
        self[key] = []
        while len(self) > self._limit:
            self.popitem(last=False)
        return self[key]

    def __getitem__(self, key: str) -> list[T]:
        if key in self:
            self.move_to_end(key)
        return super().__getitem__(key)
