"""What can go wrong in a request, with the API's codes and texts (api.md 1.0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ErrorCode = Literal[
    "invalid_params",
    "invalid_session_description",
    "not_found_track_error",
    "empty_track_error",
    "repeated_local_track_error",
    "update_track_error",
    "close_track_error",
    "session_error",
]


class NegotiationError(Exception):
    """The request as a whole is refused, and the record stays as it was.

    `status` is the HTTP status; `code`, `text` and `subcode` are the API's errorCode,
    errorDescription and errorSubcode.
    """

    def __init__(self, status: int, code: ErrorCode, text: str, subcode: str | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text
        self.subcode = subcode


@dataclass(frozen=True, slots=True)
class ItemError:
    """One item of a batch failed; the others go on."""

    code: ErrorCode
    text: str
    subcode: str | None = None


TRACK_NOT_FOUND = ItemError(
    "not_found_track_error",
    "Track not found on remote peer. Make sure the publisher peer is connected and sending packets "
    "for this track",
)
TRACK_EMPTY = ItemError("empty_track_error", "No track data from remote peer within the time allowed")
TRACK_CLOSED = ItemError("close_track_error", "Track doesn't exist or was already closed")
NOT_SIMULCAST = ItemError(
    "update_track_error", "The track is not configured for simulcast, no updates applicable."
)
NOT_UPDATABLE = ItemError(
    "update_track_error", "No track is being received on this mid, no updates applicable."
)


def invalid_params(text: str) -> NegotiationError:
    """406: a field, a value or a combination of them is wrong."""
    return NegotiationError(406, "invalid_params", text)


def invalid_sdp(text: str, subcode: str | None = None) -> NegotiationError:
    """406: the session description is not acceptable, or out of order."""
    return NegotiationError(406, "invalid_session_description", text, subcode)


def offer_pending() -> NegotiationError:
    """406: our offer has no answer yet, so nothing else may change."""
    return invalid_sdp(
        "An offer of this session waits for its answer: send it to /renegotiate first",
        "invalid_modification_have_local_offer",
    )
