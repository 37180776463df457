"""Pickles and archives that mean harm, in bytes: nothing here is run when they are written."""

from __future__ import annotations

import io
import pickle
import random
import struct
import zipfile

import torch

P = pickle

FUNCTIONS = (
    "os system", "posix system", "posix mkdir", "nt system", "builtins eval", "builtins exec", "builtins __import__",
    "builtins getattr", "builtins open", "builtins compile", "builtins globals", "importlib import_module",
    "subprocess Popen", "subprocess check_output", "runpy run_path", "pty spawn", "shutil rmtree", "webbrowser open",
    "urllib.request urlopen", "socket create_connection", "ctypes CDLL", "operator attrgetter", "functools partial",
    "copyreg _reconstructor", "pickle loads", "torch load", "torch.hub load", "torch.jit load", "numpy load",
    "numpy.lib.npyio NpzFile", "torch.storage _load_from_bytes", "torch._utils _rebuild_wrapper_subclass",
    "torch._tensor _rebuild_from_type_v2", "torch.serialization _get_layout", "logging.config dictConfig",
    "timm.models load_checkpoint", "yaml load", "deeplab_lightning.__main__ main", "code interact", "bdb Bdb",
)  # fmt: skip


def text(word: str) -> bytes:
    """A text, pickled."""
    return P.BINUNICODE + struct.pack("<I", len(word.encode())) + word.encode()


def named(module_and_name: str) -> bytes:
    """What stands in a module, pickled by its name."""
    module, name = module_and_name.split(" ")
    return P.GLOBAL + f"{module}\n{name}\n".encode()


def made(function: str, *arguments: bytes) -> bytes:
    """A call, pickled."""
    return named(function) + P.MARK + b"".join(arguments) + P.TUPLE + P.REDUCE


def number(value: int) -> bytes:
    """A whole number, pickled."""
    size = (value.bit_length() + 8) // 8
    return P.LONG1 + bytes([size]) + value.to_bytes(size, "little", signed=True)


def whole(content: bytes) -> bytes:
    """A pickle of protocol 2."""
    return P.PROTO + b"\x02" + content + P.STOP


def state_dict(value: bytes, key: str = "layer.weight") -> bytes:
    """`{"state_dict": {key: value}}`, pickled."""
    inner = P.EMPTY_DICT + text(key) + value + P.SETITEM
    return whole(P.EMPTY_DICT + text("state_dict") + inner + P.SETITEM)


def dtype(code: str, *state: bytes) -> bytes:
    """NumPy's dtype, pickled, with the entries of its state behind the byte order."""
    entries = state or (P.NONE, P.NONE, P.NONE, number(-1), number(-1), number(0))
    begin = made("numpy dtype", text(code), P.NEWFALSE, P.NEWTRUE)
    return begin + P.MARK + number(3) + text("<") + b"".join(entries) + P.TUPLE + P.BUILD


def record(field: bytes, offset: int, below: bytes = P.NONE, flags: int = 0) -> bytes:
    """NumPy's dtype of a record of one field `a`, pickled."""
    names = P.EMPTY_LIST + text("a") + P.APPEND
    fields = P.EMPTY_DICT + text("a") + field + number(offset) + P.TUPLE2 + P.SETITEM
    return dtype("V8", below, names, fields, number(8), number(1), number(flags))


def bare(kind: bytes) -> bytes:
    """NumPy's dtype without a state, pickled."""
    return made("numpy dtype", kind, P.NEWFALSE, P.NEWTRUE)


def listed(*fields: str) -> bytes:
    """What NumPy makes a record's dtype of: names with the kinds of their numbers."""
    pairs = (P.MARK + text(name) + text(kind) + P.TUPLE for name, kind in (field.split(" ") for field in fields))
    return P.EMPTY_LIST + b"".join(pair + P.APPEND for pair in pairs)


def array(kind: bytes, shape: bytes, content: bytes, of: str = "numpy ndarray") -> bytes:
    """NumPy's array, pickled."""
    raw = made("_codecs encode", text(content.decode("latin1")), text("latin1"))
    empty = named("numpy.core.multiarray _reconstruct") + named(of) + number(0) + P.TUPLE1 + text("b") + P.TUPLE3
    return empty + P.REDUCE + P.MARK + number(1) + shape + kind + P.NEWFALSE + raw + P.TUPLE + P.BUILD


def scalar(kind: bytes, content: bytes) -> bytes:
    """NumPy's number, pickled."""
    raw = made("_codecs encode", text(content.decode("latin1")), text("latin1"))
    return named("numpy.core.multiarray scalar") + kind + raw + P.TUPLE2 + P.REDUCE


def shape(*sides: int) -> bytes:
    """A tuple, pickled."""
    return P.MARK + b"".join(map(number, sides)) + P.TUPLE


def storage(count: int, key: str = "0", kind: str = "torch FloatStorage") -> bytes:
    """A reference to a storage."""
    parts = text("storage") + named(kind) + text(key) + text("cpu") + number(count)
    return P.MARK + parts + P.TUPLE + P.BINPERSID


def tensor(
    count: int, offset: int, size: bytes, stride: bytes, key: str = "0", kind: str = "torch FloatStorage"
) -> bytes:
    """A tensor, pickled."""
    hooks = made("collections OrderedDict")
    return made("torch._utils _rebuild_tensor_v2", storage(count, key, kind), number(offset), size, stride,
                P.NEWFALSE, hooks)  # fmt: skip


def archive(pickled: bytes, parts: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A file as PyTorch writes it, of any content."""
    made_file = io.BytesIO()
    with zipfile.ZipFile(made_file, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        for name, content in {"byteorder": b"little", "data/0": bytes(16), "version": b"3\n", **(parts or {})}.items():
            file.writestr(f"archive/{name}", content)
    return made_file.getvalue()


def honest() -> bytes:
    """A file of four numbers."""
    return archive(state_dict(tensor(4, 0, shape(2, 2), shape(2, 1))))


def flipped(data: bytes, place: int, bit: int = 0) -> bytes:
    """The same with one bit changed."""
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    return bytes(changed)


def mutated(data: bytes, generator: random.Random) -> bytes:
    """The same with some bytes changed, taken out, doubled, or set to what means much."""
    changed = bytearray(data)
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(len(changed))
        kind = generator.randrange(5)
        if kind == 0:
            changed[place] ^= 1 << generator.randrange(8)
        elif kind == 1:
            changed[place] = generator.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del changed[place : place + generator.randint(1, 8)]
        elif kind == 3:
            changed[place:place] = changed[place : place + generator.randint(1, 40)]
        else:
            changed[place : place + 4] = generator.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)))
        if not changed:
            changed = bytearray(b"\0")
    return bytes(changed)


def _bomb() -> bytes:
    """A thousand times a thousand times a thousand the same list, in some bytes."""
    content = P.EMPTY_LIST + P.BINPUT + b"\0"
    for level in range(30):
        content += P.EMPTY_LIST + P.MARK + (P.BINGET + bytes([level])) * 10 + P.APPENDS + P.BINPUT + bytes([level + 1])
    return content


def plain() -> dict[str, bytes]:
    """Pickles for files of their own and for the inside of archives, by what they try."""
    f4 = dtype("f4")
    found = {f"call {name.replace(' ', '.')}": state_dict(made(name, text("x"))) for name in FUNCTIONS}
    return found | {
        "array of objects": state_dict(array(dtype("O8"), shape(2), bytes(16))),
        "array of objects, empty": state_dict(array(dtype("O8"), shape(0), b"")),
        "array of records": state_dict(array(record(dtype("O8"), 0, flags=27), shape(1), bytes(8))),
        "array of records with offsets beyond": state_dict(array(record(f4, 1 << 40), shape(1), bytes(8))),
        "array of sub-arrays": state_dict(
            array(record(f4, 0, below=f4 + shape(1 << 40) + P.TUPLE2), shape(1), bytes(8))
        ),
        "array of void": state_dict(array(dtype("V0"), shape(1 << 40), b"")),
        "array of times": state_dict(array(dtype("M8"), shape(1), bytes(8))),
        "array of texts": state_dict(array(dtype("U1"), shape(1), bytes(4))),
        "array without content": state_dict(array(f4, shape(1 << 40), b"")),
        "array of negative sides": state_dict(array(f4, shape(-1, -4), bytes(16))),
        "array of more sides than bytes": state_dict(array(f4, shape(1 << 30, 1 << 30), bytes(16))),
        "array of a wrong shape": state_dict(array(f4, text("x"), bytes(16))),
        "array of another kind": state_dict(array(f4, shape(4), bytes(16), of="numpy matrix")),
        "array that was never filled, built": state_dict(
            named("numpy.core.multiarray _reconstruct")
            + named("numpy ndarray")
            + number(0)
            + P.TUPLE1
            + text("b")
            + P.TUPLE3
            + P.REDUCE
            + P.NONE
            + P.BUILD
        ),
        "array made by its kind": state_dict(made("numpy ndarray", shape(1 << 40))),
        "number of an object": state_dict(scalar(dtype("O8"), bytes(8))),
        "number of a record": state_dict(scalar(record(dtype("O8"), 0, flags=27), bytes(8))),
        "number without bytes": state_dict(scalar(f4, b"")),
        "bare number of an object": state_dict(scalar(bare(text("O")), bytes([65]) * 8)),
        "bare number of an object, empty": state_dict(scalar(bare(text("O")), b"")),
        "bare number of a record": state_dict(scalar(bare(listed("a O", "b f4")), bytes([65]) * 12)),
        "bare number of an object itself": state_dict(
            made("numpy.core.multiarray scalar", bare(text("O")), P.EMPTY_LIST)
        ),
        "bare array of objects": state_dict(array(bare(text("O")), shape(2), bytes([65]) * 16)),
        "bare array of records": state_dict(array(bare(listed("a O", "b f4")), shape(1), bytes([65]) * 12)),
        "bare array of records of records": state_dict(array(bare(listed("a O,O")), shape(1), bytes([65]) * 16)),
        "bare array of objects as a number's": state_dict(
            made("numpy ndarray", shape(1), bare(text("O")), made("_codecs encode", text("A" * 8), text("latin1")))
        ),
        "objects of a list": state_dict(
            named("numpy.core.multiarray _reconstruct")
            + named("numpy ndarray")
            + number(0)
            + P.TUPLE1
            + text("b")
            + P.TUPLE3
            + P.REDUCE
            + P.MARK
            + number(1)
            + shape(2)
            + bare(text("O"))
            + P.NEWFALSE
            + P.EMPTY_LIST
            + P.NONE
            + P.APPEND
            + P.TUPLE
            + P.BUILD
        ),
        "an array that has a shape alone": state_dict(
            named("numpy.core.multiarray _reconstruct")
            + named("numpy ndarray")
            + shape(1 << 30)
            + text("O")
            + P.TUPLE3
            + P.REDUCE
        ),
        "number of nothing": state_dict(made("numpy.core.multiarray scalar", P.NONE, P.NONE)),
        "dtype that is no name": state_dict(made("numpy dtype", number(5), P.NEWFALSE, P.NEWTRUE)),
        "dtype of fields": state_dict(made("numpy dtype", P.EMPTY_LIST, P.NEWFALSE, P.NEWTRUE)),
        "memory by bytearray": state_dict(made("builtins bytearray", number(1 << 40))),
        "memory by a storage": state_dict(made("torch.storage UntypedStorage", number(1 << 40))),
        "memory by a tensor": state_dict(made("torch FloatTensor", number(1 << 40))),
        "memory by a tensor's class": state_dict(made("torch Tensor", number(1 << 40))),
        "memory by the memo": whole(P.NONE + P.LONG_BINPUT + b"\xff\xff\xff\xff"),
        "memory by a long text": whole(P.BINUNICODE8 + struct.pack("<Q", 1 << 60)),
        "memory by long bytes": whole(P.BYTEARRAY8 + struct.pack("<Q", 1 << 40)),
        "memory by a long number": whole(P.LONG4 + struct.pack("<i", 1 << 30)),
        "memory by a frame": whole(P.FRAME + struct.pack("<Q", 1 << 60) + P.NONE),
        "lists within lists": whole(P.EMPTY_LIST * 20_000 + P.APPEND * 19_999),
        "tuples within tuples": whole(P.EMPTY_TUPLE + P.TUPLE1 * 20_000),
        "a list that holds itself": whole(P.EMPTY_LIST + P.BINPUT + b"\0" + P.BINGET + b"\0" + P.APPEND),
        "a list of lists of lists": whole(_bomb()),
        "a function as a value": state_dict(named("torch._utils _rebuild_tensor_v2")),
        "attributes of a function": state_dict(
            named("torch._utils _rebuild_tensor_v2")
            + P.NONE
            + P.EMPTY_DICT
            + text("__code__")
            + text("x")
            + P.SETITEM
            + P.TUPLE2
            + P.BUILD
        ),
        "an instance of a class": state_dict(named("collections OrderedDict") + P.EMPTY_TUPLE + P.NEWOBJ),
        "extending what is no list": state_dict(P.NONE + P.MARK + P.NONE + P.APPENDS),
        "a storage where there is none": state_dict(storage(4)),
        "a persistent name": state_dict(P.PERSID + b"x\n"),
        "an extension": state_dict(P.EXT1 + b"\1"),
        "a tensor without storage": state_dict(
            made("torch._utils _rebuild_tensor_v2", P.NONE, number(0), shape(1), shape(1))
        ),
        "nothing": b"",
        "a beginning alone": P.PROTO + b"\x02",
        "an end alone": P.PROTO + b"\x02" + P.STOP,
        "an unknown step": whole(b"\xfe"),
    }


def archives() -> dict[str, bytes]:
    """PyTorch's archives, by what they try."""
    good = state_dict(tensor(4, 0, shape(2, 2), shape(2, 1)))
    data = honest()
    inside = data.index(bytes(16))
    found = {
        "a storage longer than its part": archive(state_dict(tensor(1 << 28, 0, shape(1 << 28), shape(1)))),
        "a storage of 2^62 numbers": archive(state_dict(tensor(1 << 62, 0, shape(4), shape(1)))),
        "a storage shorter than its part": archive(state_dict(tensor(1, 0, shape(1), shape(1)))),
        "a storage of no known kind": archive(state_dict(tensor(16, 0, shape(4), shape(1), kind="torch QInt8Storage"))),
        "two storages of one part": archive(
            whole(P.MARK + tensor(4, 0, shape(4), shape(1)) + tensor(16, 0, shape(16), shape(1)) + P.TUPLE)
        ),
        "a tensor that begins beyond": archive(state_dict(tensor(4, 1 << 40, shape(1), shape(1)))),
        "a tensor that begins before": archive(state_dict(tensor(4, -4, shape(1), shape(1)))),
        "a tensor that goes backwards": archive(state_dict(tensor(4, 3, shape(4), shape(-1)))),
        "a tensor that is too long": archive(state_dict(tensor(4, 0, shape(1 << 40), shape(1)))),
        "a tensor with long strides": archive(state_dict(tensor(4, 0, shape(2, 2), shape(1 << 40, 1)))),
        "a tensor with too few strides": archive(state_dict(tensor(4, 0, shape(2, 2), shape(1)))),
        "a tensor of a thousand dimensions": archive(state_dict(tensor(4, 0, shape(*[1] * 1000), shape(*[1] * 1000)))),
        "a tensor of one number many times": archive(state_dict(tensor(4, 0, shape(1 << 40), shape(0)))),
        "a missing part": archive(state_dict(tensor(4, 0, shape(4), shape(1), key="7"))),
        "a part outside": archive(state_dict(tensor(4, 0, shape(4), shape(1), key="../../x"))),
        "numbers the other way round": archive(good, {"byteorder": b"big"}),
        "no pickle": archive(good).replace(b"data.pkl", b"data.pkx"),
        "two names of one part": archive(good, {"DATA/0": bytes(64)}),
        "a second pickle": archive(good, {"x/../data.pkl": good}) + b"",
        "compressed": archive(good, {"data/9": bytes(1 << 20)}, compression=zipfile.ZIP_DEFLATED),
        "compressed by LZMA": archive(good, compression=zipfile.ZIP_LZMA),
        "a flipped weight": flipped(data, inside + 3),
        "a flipped pickle": flipped(data, data.index(b"layer.weight") + 2),
        "cut short": data[:-10],
        "cut in the middle": data[: len(data) // 2],
        "an empty archive": archive(b"")[-22:],
        "a beginning alone": b"PK",
    }
    return found | {f"in an archive: {name}": archive(content) for name, content in plain().items()}


def legacy() -> dict[str, bytes]:
    """The form before 1.6, by what is tried."""
    made_file = io.BytesIO()
    torch.save({"state_dict": {"a": torch.ones(4)}}, made_file, _use_new_zipfile_serialization=False)
    data = made_file.getvalue()
    return {
        "old: cut short": data[:-5],
        "old: more numbers than bytes": data.replace(b"K\x04", b"\x8a\x06" + (1 << 40).to_bytes(6, "little"), 1),
        "old: the head alone": data[:20],
    }
