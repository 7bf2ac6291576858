"""The VP8 payload descriptor (RFC 7741 4.2) as a value, and what a subscriber sees of several sources."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What stands before the VP8 payload; None is a field that is not there.

    `first` is the byte before the extension, `reserved` the bits of it without a meaning here, `wide` whether
    the picture id has 15 bits. `temporal` is the byte of TID, Y and KEYIDX, whose KEYIDX counts with `keyed`.
    """

    first: int
    picture: int | None = None
    wide: bool = False
    tl0: int | None = None
    temporal: int | None = None
    temporal_used: bool = False
    keyed: bool = False
    reserved: int = 0


def parse(payload: bytes) -> tuple[Descriptor, bytes] | None:
    """The descriptor and what follows it; None if it has no extension or is cut short."""
    try:
        if not payload[0] & 0x80:
            return None
        flags, rest = payload[1], list(payload[2:])
        picture = tl0 = temporal = None
        wide = False
        if flags & 0x80:
            picture = rest.pop(0)
            wide = picture >= 0x80
            if wide:
                picture = (picture & 0x7F) << 8 | rest.pop(0)
        if flags & 0x40:
            tl0 = rest.pop(0)
        if flags & 0x30:
            temporal = rest.pop(0)
    except IndexError:
        return None
    return Descriptor(
        payload[0], picture, wide, tl0, temporal, bool(flags & 0x20), bool(flags & 0x10), flags & 0x0F
    ), bytes(rest)


def serialize(value: Descriptor) -> bytes:
    """The bytes of a descriptor, extension and all."""
    flags = value.reserved | (value.temporal_used and 0x20) | (value.keyed and 0x10)
    out: list[int] = []
    if value.picture is not None:
        flags |= 0x80
        out += [0x80 | value.picture >> 8, value.picture & 0xFF] if value.wide else [value.picture]
    if value.tl0 is not None:
        flags |= 0x40
        out.append(value.tl0)
    if value.temporal is not None:
        out.append(value.temporal)
    return bytes((value.first, flags, *out))


class Subscriber:
    """The payloads of one source after the other, their numbers made to go on."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._shift: dict[str, int] = {}

    def send(self, payload: bytes, *, begins: bool) -> bytes:
        """The payload as it leaves; `begins` is the first of another source."""
        found = parse(payload)
        numbers = {"picture": 0, "tl0": 0, "key": 0}
        here: dict[str, int] = {}
        if found is not None:
            here = _numbers(found[0])
        if begins:
            self._shift = {
                name: last + 1 - (numbers | here)[name] for name, last in self._last.items()
            }  # what was never sent before keeps its own count
        if found is None:
            return payload
        value, rest = found
        out = {name: number + self._shift.get(name, 0) for name, number in here.items()}
        if "picture" in out:
            out["picture"] %= 1 << 15 if value.wide else 1 << 7
            value = replace(value, picture=out["picture"])
        if "tl0" in out:
            out["tl0"] %= 256
            value = replace(value, tl0=out["tl0"])
        if "key" in out:
            out["key"] %= 32
            value = replace(value, temporal=(value.temporal or 0) & 0xE0 | out["key"])
        self._last |= out
        return serialize(value) + rest


def _numbers(value: Descriptor) -> dict[str, int]:
    out: dict[str, int] = {}
    if value.picture is not None:
        out["picture"] = value.picture
    if value.tl0 is not None:
        out["tl0"] = value.tl0
    if value.keyed and value.temporal is not None:
        out["key"] = value.temporal & 0x1F
    return out
