"""Files that PyTorch wrote, and pickles of arrays, read by a reader of our own: all in them is data.

A pickle is a program. PyTorch's restricted reader runs none that is not PyTorch's, but it believes the numbers in it: a
storage is as long as the pickle says, whatever the archive holds, and what NumPy's own constructors make of a hostile
state is not defined. Here a pickle makes plain values, tensors and arrays of plain numbers, by constructors that are
below; what it says of sizes must agree with the bytes that are there, of which the archive's check sums are verified.

No file takes much more memory than it has bytes: nothing in it is compressed, and the number of objects is bounded.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from torch import Tensor

from .files import open_file

MOST_READS = 20_000_000
"""Steps that a pickle may take: some five for each weight or number of the optimiser that it describes."""
LARGEST_INDEX = 32 << 20
"""Bytes of the pickle in an archive, at most: it describes the tensors (300 bytes each), which lie beside it."""
MOST_DIMENSIONS = 16
DEEPEST = 100
"""Lists within lists."""
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
"""With which PyTorch's files before 1.6 begin, pickled."""

STORAGES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
}  # fmt: skip
"""What the numbers in PyTorch's typed storages are."""
NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
"""NumPy's names of plain numbers."""


class BrokenFile(Exception):  # noqa: N818 - becomes an error with the file's name
    """A file is cut off, damaged, or is not as PyTorch writes it; the message completes "FILE cannot be read: "."""


class MoreThanData(Exception):  # noqa: N818 - likewise
    """A pickle asks for Python objects that are no data; the message is the name of one."""


def read_torch_file(path: Path) -> Any:
    """Read what `torch.save` or `pickle.dump` wrote, onto the CPU.

    Returns:
        Plain values, tensors, and NumPy's arrays, in lists, tuples and dictionaries.

    Raises:
        BrokenFile: It is cut off, damaged, or is not as PyTorch writes it.
        MoreThanData: It holds other objects.
        OSError: It cannot be read.
    """
    try:
        with open_file(path) as file:
            start = file.read(64)
            file.seek(0)
            if start.startswith(b"PK"):
                return _read_archive(file)
            if MAGIC_NUMBER.to_bytes(10, "little") in start:
                return _read_legacy(file)
            return _Unpickler(file, None).load()
    except (BrokenFile, MoreThanData, OSError):
        raise
    except MemoryError as error:
        raise BrokenFile("it needs more memory than there is") from error
    except RecursionError as error:
        raise BrokenFile("it is nested too deeply") from error
    except Exception as error:  # of what is torn or made up, pickle and zipfile raise a dozen kinds
        torn = isinstance(
            error, KeyError | IndexError | EOFError | AttributeError | TypeError | ValueError | struct.error
        )
        said = "its pickle is torn, or is none" if torn else (str(error) or type(error).__name__).splitlines()[0]
        raise BrokenFile(said[:200]) from error


# --- the forms of a file --------------------------------------------------------------------------------------------


def _read_archive(file: BinaryIO) -> Any:
    """Read a zip archive: a pickle, `data.pkl`, and for each storage a part of its name, `data/0`."""
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        unpacked = sum(part.file_size for part in parts)
        if unpacked > size:
            raise BrokenFile(
                f"its {len(parts)} parts would unpack to {unpacked:,} bytes, more than the {size:,} it has; PyTorch's "
                f"files are not compressed"
            )
        if any(part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for part in parts):
            raise BrokenFile("its parts are compressed in a way that PyTorch's are not")
        named = {part.filename: part for part in parts}
        if len({name.casefold() for name in named}) != len(parts):
            raise BrokenFile("it has several parts of one name")
        index = [name for name in named if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(index) != 1:
            raise BrokenFile("it is an archive, but has no data.pkl as PyTorch's have")
        if named[index[0]].file_size > LARGEST_INDEX:
            raise BrokenFile(f"its data.pkl has {named[index[0]].file_size:,} bytes, where some hundred thousand do")
        folder = index[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in named and archive.read(f"{folder}byteorder") != b"little":
            raise BrokenFile("its numbers are stored with their highest byte first")
        storages: dict[str, Tensor] = {}

        def storage(key: str, size: int) -> Tensor:
            if key not in storages:
                part = named.get(f"{folder}data/{key}")
                if part is None:
                    raise BrokenFile(f"its part data/{key} is missing")
                if part.file_size != size:
                    raise BrokenFile(f"its part data/{key} has {part.file_size} bytes, expected {size}")
                with archive.open(part) as content:  # which compares the check sum at the end
                    storages[key] = _bytes_from(content, size)
            if storages[key].numel() != size:
                raise BrokenFile(f"its part data/{key} has {storages[key].numel()} bytes, expected {size}")
            return storages[key]

        content = _Unpickler(io.BytesIO(archive.read(index[0])), storage).load()
        for name, part in named.items():  # what the pickle does not name is verified as well
            if not name.startswith(f"{folder}data/") or name.removeprefix(f"{folder}data/") not in storages:
                with archive.open(part) as rest:
                    while rest.read(1 << 20):
                        pass
        return content


def _read_legacy(file: BinaryIO) -> Any:
    """Read the form before 1.6: pickles one after the other, then the storages, each behind its number of values."""
    left = file.seek(0, io.SEEK_END)
    file.seek(0)
    storages: dict[str, Tensor] = {}

    def storage(key: str, size: int) -> Tensor:
        nonlocal left
        if key not in storages:
            left -= size
            if left < 0:
                raise BrokenFile("it announces more numbers than it has bytes")
            storages[key] = torch.empty(size, dtype=torch.uint8)
        if storages[key].numel() != size:
            raise BrokenFile(f"its storage {key} has {storages[key].numel()} bytes, expected {size}")
        return storages[key]

    for expected in ("the magic number", "the version", "the machine"):
        found = _Unpickler(file, None).load()
        if expected == "the magic number" and found != MAGIC_NUMBER:
            raise BrokenFile("it does not begin as PyTorch's files do")
        if expected == "the machine" and not (isinstance(found, dict) and found.get("little_endian", True)):
            raise BrokenFile("its numbers are stored with their highest byte first")
    content = _Unpickler(file, storage).load()
    keys = _Unpickler(file, None).load()
    if not isinstance(keys, list) or set(keys) != set(storages):
        raise BrokenFile("its list of storages is not that of its tensors")
    for key in keys:
        file.seek(8, io.SEEK_CUR)  # the number of values, which the pickle has told
        storages[key].copy_(_bytes_from(file, storages[key].numel()))
    return content


def _bytes_from(file: Any, size: int) -> Tensor:
    """Read `(size,)` uint8."""
    made = torch.empty(size, dtype=torch.uint8)
    if size:
        buffer, place = memoryview(made.numpy().data), 0
        while place < size:
            count = file.readinto(buffer[place : place + (64 << 20)])
            if not count:
                raise BrokenFile(f"it ends {size - place} bytes too early")
            place += count
    return made


# --- what a pickle may make -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Maker:
    """A function that a pickle may call."""

    call: Callable[..., Any]


@dataclass(frozen=True)
class _Kind:
    """The kind of the numbers in a typed storage; None where the tensor tells."""

    dtype: torch.dtype | None


@dataclass(frozen=True)
class _Storage:
    """A storage: bytes `(N,)` uint8, and of what kind its numbers are."""

    content: Tensor
    dtype: torch.dtype | None


class _Dtype:
    """NumPy's dtype, of plain numbers alone."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or code not in NUMBERS:
            raise BrokenFile(f"it holds arrays of {code!r}, which are no plain numbers"[:100])
        self.code = code
        self.order: Literal["<", ">", "|", "="] = "<"

    def take(self, state: Any) -> None:
        """Take the state of a pickled dtype: `(3, byte order, ...)`, nothing of which is for plain numbers."""
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "=") or any(state[2:5]):
            raise BrokenFile("it holds arrays of records, which are no plain numbers")
        self.order = state[1]

    def numpy(self) -> np.dtype[Any]:
        """Return it as NumPy's."""
        return np.dtype(self.code).newbyteorder(self.order)


class _Array:
    """An array of NumPy's that gets its content."""

    def __init__(self, *_: Any) -> None:
        self.array: np.ndarray = np.empty(0, np.float32)

    def take(self, state: Any) -> None:
        """Take the state of a pickled array: `(1, shape, dtype, whether columns come first, bytes)`."""
        _, shape, dtype, fortran, content = state
        if isinstance(content, str):
            content = content.encode("latin1")  # pickled by Python 2
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise BrokenFile("it holds arrays that are not of plain numbers")
        kind = dtype.numpy()
        if math.prod(_sizes(shape)) * kind.itemsize != len(content):
            raise BrokenFile(f"an array of shape {shape} and {len(content)} bytes is in it")
        order = "F" if fortran else "C"
        array = np.frombuffer(content, kind).reshape(shape, order=order)  # type: ignore[call-overload]
        self.array = array.astype(kind.newbyteorder("="))


def _scalar(dtype: Any, content: Any) -> Any:
    if isinstance(content, str):
        content = content.encode("latin1")
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes) or len(content) != dtype.numpy().itemsize:
        raise BrokenFile("it holds a number of NumPy's that is none")
    return np.frombuffer(content, dtype.numpy())[0].item()


def _encode(text: Any, encoding: Any = "utf-8") -> bytes:
    """Return the bytes that a pickle of protocol 2 holds as text."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise BrokenFile("it holds bytes in an unknown encoding")
    return text.encode(encoding)


def _bytearray(content: Any = b"", encoding: Any = "latin1") -> bytes:
    return content if isinstance(content, bytes) else _encode(content, encoding)


def _sizes(values: Any) -> Sequence[int]:
    """Return a shape, an offset or strides if they are whole numbers of 0 or more."""
    if not isinstance(values, tuple | list) or len(values) > MOST_DIMENSIONS:
        raise BrokenFile("a shape in it is none")
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 48:
            raise BrokenFile("a shape in it is none")
    return values


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *more: Any) -> Tensor:
    """Return a view of a storage, which lies within it."""
    if not isinstance(storage, _Storage):
        raise BrokenFile("a tensor in it has no storage")
    dtype = next((one for one in more if isinstance(one, torch.dtype)), storage.dtype)
    if dtype is None:
        raise BrokenFile("a tensor in it is of unknown numbers")
    sizes, strides, (first,) = _sizes(size), _sizes(stride), _sizes((offset,))
    if len(sizes) != len(strides):
        raise BrokenFile("a tensor in it has other strides than dimensions")
    last = first + sum((length - 1) * step for length, step in zip(sizes, strides, strict=True))
    numbers = storage.content.numel() // dtype.itemsize
    if math.prod(sizes) and last >= numbers:
        raise BrokenFile(f"a tensor of shape {tuple(sizes)} is made of {numbers * dtype.itemsize} bytes")
    if not math.prod(sizes):
        return torch.empty(tuple(sizes), dtype=dtype)
    made = torch.empty(0, dtype=dtype)
    return made.set_(storage.content.untyped_storage(), first, tuple(sizes), tuple(strides))


def _parameter(data: Any, requires_grad: Any = True, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise BrokenFile("a parameter in it is no tensor")
    return data


def _device(*words: Any) -> str:
    return ":".join(map(str, words))[:100]


def _ordered(*content: Any) -> OrderedDict[Any, Any]:
    made: OrderedDict[Any, Any] = OrderedDict()
    for pairs in content:
        for key, value in pairs.items() if isinstance(pairs, dict) else pairs:
            made[key] = value
    return made


def _set(*content: Any) -> set[Any]:
    return {each for several in content for each in several}


def _counter(*content: Any) -> Counter[Any]:
    return Counter(*(each for each in content if isinstance(each, dict)))


def _size(values: Any = ()) -> tuple[int, ...]:
    return tuple(_sizes(values))


def _makers() -> dict[str, Any]:
    rebuild: dict[str, Callable[..., Any]] = {
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor_v3": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch.Size": _size,
        "torch.device": _device,
        "collections.OrderedDict": _ordered,
        "collections.Counter": _counter,
        "builtins.set": _set,
        "builtins.bytearray": _bytearray,
        "builtins.complex": complex,
        "_codecs.encode": _encode,
        "numpy.dtype": _Dtype,
        **{f"numpy.{core}.multiarray._reconstruct": _Array for core in ("core", "_core")},
        **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    }
    storages = {f"torch.{name}Storage": _Kind(dtype) for name, dtype in STORAGES.items()}
    dtypes = {str(dtype): dtype for dtype in STORAGES.values()}
    untyped = dict.fromkeys(("torch.storage.UntypedStorage", "torch.UntypedStorage"), _Kind(None))
    return {
        **{name: _Maker(call) for name, call in rebuild.items()},
        "numpy.ndarray": _Maker(_Array),
        **storages,
        **untyped,
        **dtypes,
    }


MAKERS: Mapping[str, Any] = _makers()
"""What a pickle may name."""


class _Counted:
    """A file of which only so much is asked."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.left = file, MOST_READS

    def read(self, size: int = -1) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise BrokenFile("it is made of more parts than any network is")
        return self.file.read(size)

    def readinto(self, buffer: Any) -> int:
        return self.file.readinto(buffer)  # type: ignore[attr-defined]

    def readline(self) -> bytes:
        self.left -= 1
        return self.file.readline(1000)


_InPython: Any = pickle._Unpickler  # it has no public name


class _Unpickler(_InPython):
    """Runs a pickle, all of whose functions are in `MAKERS`.

    In Python, since the one in C fills memory for a memo of any number.

    Args:
        file: What to read.
        storage: Returns the bytes `(N,)` uint8 of a storage, given its key and N; None where there are no storages.
    """

    def __init__(self, file: BinaryIO, storage: Callable[[str, int], Tensor] | None) -> None:
        super().__init__(_Counted(file), encoding="latin1")
        self._storage = storage

    def load(self) -> Any:
        """Return what the pickle makes."""
        return _finished(super().load(), {})

    def find_class(self, module: str, name: str) -> Any:
        """Return what the pickle names; names of Python 2 were translated."""
        full = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if full not in MAKERS:
            raise MoreThanData(full[:100])
        return MAKERS[full]

    def persistent_load(self, pid: Any) -> _Storage:
        """Return a storage: `("storage", its kind, its key, its device, its number of values)`, and of old a view."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or self._storage is None:
            raise BrokenFile("a storage in it is none")
        kind, key, count = pid[1], pid[2], pid[4]
        if not isinstance(kind, _Kind) or not isinstance(key, str) or (len(pid) == 6 and pid[5] is not None):
            raise BrokenFile("a storage in it is of no plain numbers")
        (count,) = _sizes((count,))
        return _Storage(self._storage(key, count * (kind.dtype.itemsize if kind.dtype else 1)), kind.dtype)

    # What is called, or changed, must be ours.

    def load_reduce(self) -> None:
        arguments, maker = self.stack.pop(), self.stack[-1]
        if not isinstance(maker, _Maker) or not isinstance(arguments, tuple):
            raise BrokenFile("it calls what is no function")
        self.stack[-1] = maker.call(*arguments)

    def load_build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, _Array | _Dtype):
            made.take(state)
        elif not isinstance(made, OrderedDict):  # whose attributes tell versions of layers
            raise BrokenFile("it sets attributes")

    def load_append(self) -> None:
        value, target = self.stack.pop(), self.stack[-1]
        self._expect(target, list).append(value)

    def load_appends(self) -> None:
        values = self.pop_mark()
        self._expect(self.stack[-1], list).extend(values)

    def load_additems(self) -> None:
        values = self.pop_mark()
        self._expect(self.stack[-1], set).update(values)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._expect(self.stack[-1], dict)[key] = value

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._expect(self.stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))

    def load_frame(self) -> None:
        self.read(8)  # a hint on what to read at once

    @staticmethod
    def _expect(target: Any, kind: type) -> Any:
        if not isinstance(target, kind):
            raise BrokenFile(f"it adds to what is no {kind.__name__}")
        return target

    dispatch = {
        code: function
        for code, function in _InPython.dispatch.items()
        if bytes([code]) not in (
            pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.OBJ, pickle.INST, pickle.EXT1, pickle.EXT2, pickle.EXT4,
            pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.PERSID,
        )
    } | {
        pickle.REDUCE[0]: load_reduce, pickle.BUILD[0]: load_build, pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends, pickle.ADDITEMS[0]: load_additems, pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems, pickle.FRAME[0]: load_frame,
    }  # fmt: skip


_KEYS = (str, int, float, bytes, tuple, type(None))


def _finished(value: Any, seen: dict[int, tuple[Any, Any]], depth: int = 0) -> Any:
    """Return arrays in place of what held them while they were read; refuse what is left of our own makings."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, _Maker | _Kind | _Storage | _Dtype):
        raise BrokenFile("a function stands in it where a value is expected")
    if isinstance(value, set | frozenset) and any(isinstance(each, _Maker | _Kind | _Storage) for each in value):
        raise BrokenFile("a function stands in it where a value is expected")
    if not isinstance(value, dict | list | tuple):
        return value
    if id(value) in seen:
        return seen[id(value)][1]
    if depth > DEEPEST:
        raise BrokenFile("it is nested too deeply")
    seen[id(value)] = value, value
    if isinstance(value, tuple):
        made = tuple(_finished(each, seen, depth + 1) for each in value)
        seen[id(value)] = value, made
        return made
    container: Any = value
    for key, each in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if not isinstance(key, _KEYS):
            raise BrokenFile(f"a value in it is named by {type(key).__name__}")
        container[key] = _finished(each, seen, depth + 1)
    return value
