"""What protects media, made in Python and called from the compiled path by address.

libsrtp as pylibsrtp binds it opens everything and seals SRTCP and AES-CM; OpenSSL seals RTP under AEAD.
pylibsrtp has no public way to a session's pointer or to the library's functions, so this page reads
its binding; its tests fail at once should that change.
"""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false, reportAttributeAccessIssue=false
# The binding is generated C without types; nothing untyped leaves this module.

from __future__ import annotations

import _ssl
import ctypes
import ctypes.util
import functools
from typing import TYPE_CHECKING

from pylibsrtp import Policy, Session, _binding

from sfu.wire.srtp import SrtpProfile

if TYPE_CHECKING:
    from sfu.wire.srtp import SrtpKeys

WINDOW = 1024
"""Packets of the replay window (RFC 3711 3.3.2 wants at least 64)."""

_PROFILES = {
    SrtpProfile.AEAD_AES_128_GCM: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    SrtpProfile.AEAD_AES_256_GCM: Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    SrtpProfile.AES128_CM_SHA1_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    SrtpProfile.AES128_CM_SHA1_32: Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
_RTP_TAG = {SrtpProfile.AES128_CM_SHA1_80: 10, SrtpProfile.AES128_CM_SHA1_32: 4}
_RTCP_TAG = {SrtpProfile.AES128_CM_SHA1_80: 10, SrtpProfile.AES128_CM_SHA1_32: 10}
_AEAD = (SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AEAD_AES_256_GCM)
_AEAD_TAG = 16
_INDEX = 4  # the SRTCP index and E bit


def rtp_tag(profile: SrtpProfile) -> int:
    """Bytes that SRTP adds to a packet."""
    return _RTP_TAG.get(profile, _AEAD_TAG)


def rtcp_trailer(profile: SrtpProfile) -> int:
    """Bytes that SRTCP adds to a compound."""
    return _RTCP_TAG.get(profile, _AEAD_TAG) + _INDEX


def function_addresses() -> list[int]:
    """What the engine calls, in the order in which it wants it."""
    ffi, lib = _binding.ffi, _binding.lib
    names = (
        "srtp_protect",
        "srtp_unprotect",
        "srtp_protect_rtcp",
        "srtp_unprotect_rtcp",
        "srtp_remove_stream",
    )
    return [int(ffi.cast("uintptr_t", ffi.addressof(lib, name))) for name in names]


_CIPHER_NAMES = (
    "EVP_CIPHER_CTX_new",
    "EVP_CIPHER_CTX_free",
    "EVP_CIPHER_CTX_ctrl",
    "EVP_EncryptInit_ex",
    "EVP_EncryptUpdate",
    "EVP_EncryptFinal_ex",
    "EVP_aes_128_ctr",
    "EVP_aes_256_ctr",
    "EVP_aes_128_gcm",
    "EVP_aes_256_gcm",
)  # struct evp_calls in c/evp.h


@functools.cache
def cipher_addresses() -> tuple[int, ...]:
    """OpenSSL's functions for `c/evp.h`; none if no library has them, and libsrtp seals everything.

    The OpenSSL that pylibsrtp's wheel carries comes first: it is newer than most systems' and takes half
    the time (docs/decisions/0010). Then the one that Python itself is linked to.
    """
    for path in (_binding.__file__, getattr(_ssl, "__file__", None), ctypes.util.find_library("crypto")):
        if path is None:
            continue
        library = ctypes.CDLL(path)
        if all(hasattr(library, name) for name in _CIPHER_NAMES):
            found = [ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in _CIPHER_NAMES]
            return tuple(address or 0 for address in found)
    return ()


class SrtpPair:
    """Both directions under one association's keys. The addresses hold as long as this object lives."""

    def __init__(self, keys: SrtpKeys) -> None:
        self.keys = keys
        self._inbound = self._session(keys, keys.remote, Policy.SSRC_ANY_INBOUND)
        self._outbound = self._session(keys, keys.local, Policy.SSRC_ANY_OUTBOUND)

    @staticmethod
    def _session(keys: SrtpKeys, key: bytes, ssrc_type: int) -> Session:
        policy = Policy(key=key, ssrc_type=ssrc_type, srtp_profile=_PROFILES[keys.profile])
        policy.window_size = WINDOW
        policy.allow_repeat_tx = True  # the engine resends bytes that are the same, and none other
        return Session(policy)

    @property
    def inbound(self) -> int:
        """Address of the session that takes packets in."""
        return _address(self._inbound)

    @property
    def outbound(self) -> int:
        """Address of the session that seals packets."""
        return _address(self._outbound)

    @property
    def sealing(self) -> bytes:
        """Master key and salt for what OpenSSL is to seal; b"" where libsrtp does it."""
        return self.keys.local if self.keys.profile in _AEAD and cipher_addresses() else b""


def _address(session: Session) -> int:
    return int(_binding.ffi.cast("uintptr_t", session._srtp[0]))
