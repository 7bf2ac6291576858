from __future__ import annotations

import pytest

from sfu.wire.srtp import SrtpKeys, SrtpProfile


@pytest.mark.parametrize(
    ("profile", "key", "salt"),
    [
        (SrtpProfile.AEAD_AES_128_GCM, 16, 12),
        (SrtpProfile.AEAD_AES_256_GCM, 32, 12),
        (SrtpProfile.AES128_CM_SHA1_80, 16, 14),
        (SrtpProfile.AES128_CM_SHA1_32, 16, 14),
    ],
)
def test_exported_material_is_client_key_server_key_client_salt_server_salt(
    profile: SrtpProfile, key: int, salt: int
) -> None:
    material = b"K" * key + b"k" * key + b"S" * salt + b"s" * salt
    assert len(material) == profile.exported_bytes
    client = SrtpKeys.from_exporter(profile, material, is_client=True)
    server = SrtpKeys.from_exporter(profile, material, is_client=False)
    assert client.local == server.remote == b"K" * key + b"S" * salt
    assert client.remote == server.local == b"k" * key + b"s" * salt


def test_keys_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="28 bytes"):
        SrtpKeys.from_exporter(SrtpProfile.AEAD_AES_128_GCM, bytes(60), is_client=True)


def test_keys_are_not_shown() -> None:
    keys = SrtpKeys.from_exporter(SrtpProfile.AEAD_AES_128_GCM, b"secret!!" * 7, is_client=True)
    assert "secret" not in repr(keys)
