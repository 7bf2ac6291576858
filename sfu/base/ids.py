"""The ids that cross layers, and what is derived from them.

The local ICE ufrag is the session id followed by the generation of the ICE credentials, and the ICE
password is derived from the cluster secret and the ufrag: any node can check and answer a
connectivity check of any session without a look-up.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import NewType

AppId = NewType("AppId", str)
SessionId = NewType("SessionId", str)
TrackName = NewType("TrackName", str)
Mid = NewType("Mid", str)
Rid = NewType("Rid", str)
Ssrc = NewType("Ssrc", int)
PayloadType = NewType("PayloadType", int)
NodeId = NewType("NodeId", str)

_SESSION_ID_LENGTH = 32
_GENERATION_LENGTH = 4
GENERATIONS = 16**_GENERATION_LENGTH

_UFRAG = re.compile(rf"([0-9a-f]{{{_SESSION_ID_LENGTH}}})([0-9a-f]{{{_GENERATION_LENGTH}}})")
_SESSION_ID = re.compile(rf"[0-9a-f]{{{_SESSION_ID_LENGTH}}}")


def new_session_id() -> SessionId:
    """A fresh session id: 32 lower-case hex digits, 128 random bits."""
    return SessionId(secrets.token_hex(_SESSION_ID_LENGTH // 2))


def is_session_id(text: str) -> bool:
    """Whether `text` has the form of a session id."""
    return _SESSION_ID.fullmatch(text) is not None


def ice_ufrag(session: SessionId, generation: int) -> str:
    """The local ufrag of a session; `generation` counts its ICE restarts from 0."""
    return f"{session}{generation % GENERATIONS:0{_GENERATION_LENGTH}x}"


def parse_ice_ufrag(ufrag: str) -> tuple[SessionId, int] | None:
    """Session and generation of a local ufrag, or None if it is not one of ours."""
    match = _UFRAG.fullmatch(ufrag)
    return None if match is None else (SessionId(match[1]), int(match[2], 16))


def ice_pwd(cluster_secret: bytes, ufrag: str) -> str:
    """The local ICE password that belongs to `ufrag`: 32 ice-chars, 192 bits (RFC 8839 5.4)."""
    digest = hmac.digest(cluster_secret, b"orchard ice-pwd " + ufrag.encode(), hashlib.sha256)
    return base64.b64encode(digest[:24]).decode()
