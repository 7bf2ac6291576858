"""SRTP under AEAD by the book (RFC 7714, RFC 3711 4.3): one packet at a time, the index told."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

SALT = 12


def derive(master: bytes, label: int, size: int) -> bytes:
    """Session key or salt from master key and 12 bytes of salt (RFC 3711 4.3.1, RFC 7714 11)."""
    key, salt = master[:-SALT], master[-SALT:]
    counter = int.from_bytes(salt + bytes(2)) ^ label << 48
    stream = Cipher(AES(key), CTR((counter << 16).to_bytes(16))).encryptor()
    return stream.update(bytes(size))


def header_size(packet: bytes) -> int:
    """Fixed header, CSRCs and extension (RFC 3550 5.1, 5.3.1)."""
    size = 12 + 4 * (packet[0] & 15)
    if packet[0] & 0x10:
        size += 4 + 4 * int.from_bytes(packet[size + 2 : size + 4])
    return size


class Aead:
    """One direction: its session key and salt, made from the master's."""

    def __init__(self, master: bytes) -> None:
        self._cipher = AESGCM(derive(master, 0, len(master) - SALT))
        self._salt = derive(master, 2, SALT)

    def _iv(self, packet: bytes, index: int) -> bytes:
        plain = packet[8:12] + index.to_bytes(6)
        return bytes(a ^ b for a, b in zip(bytes(2) + plain, self._salt, strict=True))

    def seal(self, packet: bytes, index: int) -> bytes:
        """The packet as SRTP (RFC 7714 8)."""
        size = header_size(packet)
        return packet[:size] + self._cipher.encrypt(self._iv(packet, index), packet[size:], packet[:size])

    def open(self, packet: bytes, index: int) -> bytes | None:
        """The packet as RTP, or None where it was not sealed so under this index."""
        size = header_size(packet)
        try:
            plain = self._cipher.decrypt(self._iv(packet, index), packet[size:], packet[:size])
        except InvalidTag:
            return None
        return packet[:size] + plain
