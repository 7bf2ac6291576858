"""SRTP keys as a DTLS handshake exports them (RFC 5764, 3711, 7714)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class SrtpProfile(Enum):
    """A DTLS-SRTP protection profile; the value is its name in OpenSSL's `use_srtp` lists."""

    AEAD_AES_128_GCM = "SRTP_AEAD_AES_128_GCM"
    AEAD_AES_256_GCM = "SRTP_AEAD_AES_256_GCM"
    AES128_CM_SHA1_80 = "SRTP_AES128_CM_SHA1_80"
    AES128_CM_SHA1_32 = "SRTP_AES128_CM_SHA1_32"

    @property
    def key_length(self) -> int:
        """Bytes of the master key."""
        return 32 if self is SrtpProfile.AEAD_AES_256_GCM else 16

    @property
    def salt_length(self) -> int:
        """Bytes of the master salt: 12 under AEAD (RFC 7714 12), else 14 (RFC 3711 8.2)."""
        return 12 if self in (SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AEAD_AES_256_GCM) else 14

    @property
    def exported_length(self) -> int:
        """Bytes to ask of the TLS exporter `EXTRACTOR-dtls_srtp`: two keys, two salts (RFC 5764 4.2)."""
        return 2 * (self.key_length + self.salt_length)


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """Both directions of one DTLS association; each key is master key followed by master salt.

    Raises ValueError for keys whose length is not the profile's.
    """

    profile: SrtpProfile
    local_key: bytes = field(repr=False)
    """What we send under."""
    remote_key: bytes = field(repr=False)
    """What the far end sends under."""

    def __post_init__(self) -> None:
        wanted = self.profile.key_length + self.profile.salt_length
        for key in (self.local_key, self.remote_key):
            if len(key) != wanted:
                raise ValueError(f"{self.profile.value}: a key and salt of {wanted} bytes, not {len(key)}")

    @classmethod
    def from_exporter(cls, profile: SrtpProfile, material: bytes, *, is_server: bool) -> SrtpKeys:
        """Keys from what the TLS exporter gave: client key, server key, client salt, server salt.

        Raises ValueError when `material` is not `profile.exported_length` bytes long.
        """
        if len(material) != profile.exported_length:
            raise ValueError(
                f"{profile.value}: {profile.exported_length} exported bytes, not {len(material)}"
            )
        key, salt = profile.key_length, profile.salt_length
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        return cls(profile, server, client) if is_server else cls(profile, client, server)
