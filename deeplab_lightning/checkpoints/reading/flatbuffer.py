"""FlatBuffers, as far as TFLite files need them: tables of optional fields, vectors and strings, all by offset.

Google's own library trusts offsets until they fail; here every access is held against the file's size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .foreign import BrokenFile

SHORT = 1024


@dataclass(frozen=True)
class Table:
    """A table at `position` of `data`; fields are known by their number in the schema."""

    data: memoryview
    position: int

    def integer(self, number: int, form: str, default: int = 0) -> int:
        """Return a scalar field, `form` as in `struct` ("b", "i", "I", ...)."""
        place = self._field(number)
        return default if place is None else _unpack(self.data, place, form)

    def table(self, number: int) -> Table | None:
        """Return a field that is a table itself, or None where there is none."""
        place = self._field(number)
        return None if place is None else Table(self.data, _follow(self.data, place))

    def tables(self, number: int) -> Iterator[Table]:
        """Go through a vector of tables."""
        start, length = self._vector(number, 4)
        for index in range(length):
            yield Table(self.data, _follow(self.data, start + 4 * index))

    def integers(self, number: int, form: str = "i") -> list[int]:
        """Return a short vector of integers, such as a shape; `form` as in `struct`."""
        return [int(value) for value in self._numbers(number, form)]

    def floats(self, number: int) -> list[float]:
        """Return a short vector of float32."""
        return self._numbers(number, "f")

    def _numbers(self, number: int, form: str) -> list[Any]:
        size = struct.calcsize(f"<{form}")
        start, length = self._vector(number, size)
        self._check_short(length)
        return list(struct.unpack_from(f"<{length}{form}", self.data, start))

    def bytes(self, number: int) -> memoryview:
        """Return a vector of bytes, which stay where they are."""
        start, length = self._vector(number, 1)
        return self.data[start : start + length]

    def string(self, number: int) -> str:
        """Return a short string, such as a name."""
        content = self.bytes(number)
        self._check_short(len(content))
        return str(content, "utf-8", "replace")

    @staticmethod
    def _check_short(length: int) -> None:
        # Many tables may point at one and the same vector: only what is short may be copied.
        if length > SHORT:
            raise BrokenFile(f"a shape or a name in it is {length} long")

    def _field(self, number: int) -> int | None:
        virtual = self.position - _unpack(self.data, self.position, "i")
        place = 4 + 2 * number
        if place + 2 > _unpack(self.data, virtual, "H"):
            return None
        offset = _unpack(self.data, virtual + place, "H")
        return self.position + offset if offset else None

    def _vector(self, number: int, item_size: int) -> tuple[int, int]:
        """Return where a vector's items start, and how many there are."""
        place = self._field(number)
        if place is None:
            return 0, 0
        start = _follow(self.data, place)
        length = _unpack(self.data, start, "I")
        if start + 4 + length * item_size > len(self.data):
            raise BrokenFile(f"a vector of {length} items at byte {start} reaches beyond its end at {len(self.data)}")
        return start + 4, length


def root(data: memoryview) -> Table:
    """Return the outermost table."""
    return Table(data, _follow(data, 0))


def _follow(data: memoryview, place: int) -> int:
    return place + _unpack(data, place, "I")


def _unpack(data: memoryview, place: int, form: str) -> int:
    if not 0 <= place <= len(data) - struct.calcsize(f"<{form}"):
        raise BrokenFile(f"it points at byte {place}, and ends at {len(data)}")
    return int(struct.unpack_from(f"<{form}", data, place)[0])
