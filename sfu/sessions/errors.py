"""Why the service refuses a call, with the API's statuses, codes and texts (api.md 1.0).

What is wrong with a request itself is said by `sfu.negotiation.errors`; here are the reasons that lie
in the state of the session or of the service.
"""

from __future__ import annotations

from typing import Literal

Code = Literal["invalid_session_description", "session_error", "temporarily_unavailable_error"]


class RequestRefused(Exception):
    """The call is refused and has changed nothing.

    `status` is the HTTP status; `code`, `text` and `subcode` are the API's errorCode,
    errorDescription and errorSubcode.
    """

    def __init__(self, status: int, code: Code, text: str, subcode: str | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text
        self.subcode = subcode


def session_gone() -> RequestRefused:
    """410: the session is closed, has expired, or never was; no retry can revive it."""
    return RequestRefused(
        410,
        "session_error",
        "Session appears to be disconnected. Please check if the PeerConnection is connected.",
    )


def session_not_ready() -> RequestRefused:
    """425: the session waits for its PeerConnection."""
    return RequestRefused(
        425,
        "session_error",
        "Session is not ready yet. Please ensure the PeerConnection is connected before making this request",
    )


def overlapping() -> RequestRefused:
    """406: another change of this session is under way, or came first."""
    return RequestRefused(
        406,
        "invalid_session_description",
        "Another change of this session is under way. Make one request at a time for each session",
        "signaling_state_not_stable",
    )


def too_many_sessions(limit: int) -> RequestRefused:
    """503: there is no room for a further session."""
    return RequestRefused(503, "temporarily_unavailable_error", f"There are {limit} sessions already")


def draining() -> RequestRefused:
    """503: this node is about to stop."""
    return RequestRefused(503, "temporarily_unavailable_error", "This node takes no new sessions")
