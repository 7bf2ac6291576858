"""The SRTP protection profiles and the keys of one transport, as DTLS exports them (RFC 5764, RFC 7714)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class SrtpProfile(Enum):
    """A protection profile, in the order in which we prefer them; the value is OpenSSL's name for it."""

    AEAD_AES_128_GCM = "SRTP_AEAD_AES_128_GCM"
    AEAD_AES_256_GCM = "SRTP_AEAD_AES_256_GCM"
    AES128_CM_SHA1_80 = "SRTP_AES128_CM_SHA1_80"
    AES128_CM_SHA1_32 = "SRTP_AES128_CM_SHA1_32"

    @property
    def key_bytes(self) -> int:
        """Length of the master key."""
        return 32 if self is SrtpProfile.AEAD_AES_256_GCM else 16

    @property
    def salt_bytes(self) -> int:
        """Length of the master salt: 12 under AEAD (RFC 7714 12), else 14 (RFC 3711 8.2)."""
        return 12 if self in (SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AEAD_AES_256_GCM) else 14

    @property
    def exported_bytes(self) -> int:
        """What to ask of the exporter `EXTRACTOR-dtls_srtp`: two keys, two salts (RFC 5764 4.2)."""
        return 2 * (self.key_bytes + self.salt_bytes)


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """What protects the media of one transport: `local` is what we send, `remote` what we receive.

    Each is master key and master salt, joined. Raises ValueError for lengths that are not the profile's.
    """

    profile: SrtpProfile
    local: bytes = field(repr=False)
    remote: bytes = field(repr=False)

    def __post_init__(self) -> None:
        wanted = self.profile.key_bytes + self.profile.salt_bytes
        if len(self.local) != wanted or len(self.remote) != wanted:
            raise ValueError(f"{self.profile.value}: a key and salt of {wanted} bytes each way")

    @classmethod
    def from_exporter(cls, profile: SrtpProfile, material: bytes, *, is_client: bool) -> SrtpKeys:
        """The keys of one end of DTLS from its `profile.exported_bytes` of `material`. Raises ValueError."""
        key, salt = profile.key_bytes, profile.salt_bytes
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        return cls(profile, client, server) if is_client else cls(profile, server, client)
