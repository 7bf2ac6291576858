"""The SRTP protection profiles and the keys of one transport (RFC 5764 4.1.2, RFC 7714 14.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class SrtpProfile(Enum):
    """A protection profile; the value is its number in DTLS."""

    AES128_CM_SHA1_80 = 0x0001
    AES128_CM_SHA1_32 = 0x0002
    AEAD_AES_128_GCM = 0x0007
    AEAD_AES_256_GCM = 0x0008

    @property
    def key_bytes(self) -> int:
        """Length of the master key."""
        return 32 if self is SrtpProfile.AEAD_AES_256_GCM else 16

    @property
    def salt_bytes(self) -> int:
        """Length of the master salt."""
        return 12 if self in (SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AEAD_AES_256_GCM) else 14


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """What protects the media of one transport: `local` is what we send, `remote` what we receive.

    Each is master key and master salt, joined, of the lengths that the profile says.
    """

    profile: SrtpProfile
    local: bytes = field(repr=False)
    remote: bytes = field(repr=False)
