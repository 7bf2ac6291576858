"""ICE and DTLS parameters in offers and answers: one transport carries all m-lines.

We are ICE-lite, and DTLS server unless the client insists. The roles of the first answer hold as long
as the session: a change would tear the DTLS association down (RFC 8842 5).
"""

from __future__ import annotations

import dataclasses

from sfu.base.ids import GENERATIONS, Mid
from sfu.negotiation.errors import invalid_sdp
from sfu.negotiation.record import ClientTransport, DtlsRole, SessionRecord
from sfu.negotiation.sdp import Description, Media

_OFFER_ROLES: dict[str, DtlsRole] = {"active": "server", "passive": "client"}


def bundled(description: Description) -> frozenset[Mid]:
    """The mids of the living sections that may run on our one transport: the group, or a single one."""
    living = [media.mid for media in description.media if not media.stopped]
    if description.bundle is None:
        return frozenset(living[:1])
    return frozenset(living) & frozenset(description.bundle)


def take_offer(
    record: SessionRecord,
    description: Description,
    carried: list[Media],
    *,
    leaders: tuple[Mid | None, Mid | None],
) -> SessionRecord:
    """The record with what a client's offer says of its transport; new credentials restart ICE.

    `leaders` are the sections that led the BUNDLE group before and lead it now. Chromium and Firefox tie
    their transport to the leading section: with another they make another, with new sockets and a new
    DTLS association. Its ICE credentials may be the same; ours then stay too, as Firefox wants it, unless
    no section was alive before.
    """
    if not carried:
        return record
    client = _client(description, carried)
    if record.client is not None:
        before, now = leaders
        restarts = before is None or _credentials(record.client) != _credentials(client)
        changed = record.client.fingerprints != client.fingerprints
        if changed and not restarts:
            raise invalid_sdp("a=fingerprint changed without an ICE restart")
        if restarts:
            record = restarted(record)
        if changed or before != now:
            record = dissociated(record)
    setup = _setup(carried)
    if setup not in ("", "actpass", "active", "passive"):
        raise invalid_sdp(f"a=setup:{setup[:20]} is not actpass, active or passive")
    role = _OFFER_ROLES.get(setup, record.dtls_role or "server")
    return dataclasses.replace(record, client=client, dtls_role=_fixed(record, role, setup))


def restarted(record: SessionRecord) -> SessionRecord:
    """The record with new ICE credentials of ours."""
    return dataclasses.replace(record, generation=(record.generation + 1) % GENERATIONS)


def dissociated(record: SessionRecord) -> SessionRecord:
    """The record of a session whose DTLS association is over: the client begins another."""
    return dataclasses.replace(record, association=record.association + 1, client=None, dtls_role=None)


def take_answer(record: SessionRecord, description: Description, carried: list[Media]) -> SessionRecord:
    """The record with what a client's answer says of its transport."""
    if not carried:
        return record
    client = _client(description, carried)
    if record.client is not None and record.client != client:
        raise invalid_sdp(
            "a=ice-ufrag, a=ice-pwd or a=fingerprint changed in an answer to an offer that kept ours"
        )
    setup = _setup(carried)
    if setup not in ("", "active", "passive"):
        raise invalid_sdp(f"a=setup:{setup[:20]} in an answer: it must be active or passive")
    role = _OFFER_ROLES.get(setup, record.dtls_role or "server")
    return dataclasses.replace(record, client=client, dtls_role=_fixed(record, role, setup))


def _fixed(record: SessionRecord, role: DtlsRole, setup: str) -> DtlsRole:
    if record.dtls_role not in (None, role):
        raise invalid_sdp(
            f"a=setup:{setup} would change the DTLS roles of the session, which stay as they are"
        )
    return role


def _credentials(client: ClientTransport) -> tuple[str, str]:
    return client.ufrag, client.pwd


def _setup(carried: list[Media]) -> str:
    setups = {media.setup for media in carried if media.setup}
    if len(setups) > 1:
        raise invalid_sdp(
            f"a=setup differs between sections of one transport: {', '.join(sorted(setups))[:60]}"
        )
    return setups.pop() if setups else ""


def _client(description: Description, carried: list[Media]) -> ClientTransport:
    """The parameters of the section that stands for the BUNDLE group, else of any that has them.

    The group's first section speaks for all (RFC 9143 7.2); it may be one that we do not serve.
    """
    tag = description.bundle[0] if description.bundle else None
    sections = [media for media in description.media if media.mid == tag and not media.stopped]
    sections += carried
    for media in sections:
        if media.ufrag and media.pwd:
            if not media.fingerprints:
                raise invalid_sdp("a=fingerprint with SHA-256 or better is missing")
            return ClientTransport(media.ufrag, media.pwd, media.fingerprints)
    raise invalid_sdp("a=ice-ufrag and a=ice-pwd are missing")
