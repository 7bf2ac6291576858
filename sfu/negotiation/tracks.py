"""Operations on tracks: publish, pull, close, update (api.md 1.3, 1.5, 1.6, 4.1).

Who offers follows from the request: with a session description the client does and gets an answer,
without one we do, unless every item finds a transceiver that needs no SDP.
"""

from __future__ import annotations

import dataclasses

from sfu.base.ids import Mid, TrackName
from sfu.negotiation import capabilities, mlines
from sfu.negotiation.draft import Draft, check_changeable
from sfu.negotiation.errors import (
    NOT_SIMULCAST,
    NOT_UPDATABLE,
    TRACK_CLOSED,
    TRACK_NOT_FOUND,
    ItemError,
    invalid_params,
)
from sfu.negotiation.offer import TakenOffer, settle, take_offer
from sfu.negotiation.propose import Proposal
from sfu.negotiation.record import MLine, Publication, SessionRecord, Simulcast, Subscription
from sfu.negotiation.render import render
from sfu.negotiation.requests import (
    CloseTracks,
    Context,
    NewTracks,
    Outcome,
    Published,
    PublishedTrack,
    TrackItem,
    TrackRequest,
    TracksResponse,
    UpdateTracks,
)

_LONGEST_NAME = 1024  # chosen; partytracks uses 36 characters


def find_published(record: SessionRecord, name: TrackName) -> PublishedTrack | ItemError:
    """The track `name` of a publisher's record as others may pull it, or the item error for them.

    `flowing` False means that the caller may wait for its media (api.md 1.13); after that it passes
    TRACK_EMPTY in its place.
    """
    track = record.publication(name)
    if track is None or track.state != "open" or record.transport_state == "closed":
        return TRACK_NOT_FOUND
    mline = record.mline(track.mid)
    if mline is None or mline.rejected:
        return TRACK_NOT_FOUND
    media = [codec.pt for codec in mline.codecs if capabilities.is_media(codec)]
    if not media:
        return TRACK_NOT_FOUND
    return PublishedTrack(
        session=record.id,
        name=name,
        kind=track.kind,
        codecs=mline.codecs,
        extensions=mline.extensions,
        rids=mline.receiving.rids,
        sending_pt=next((pt for pt in media if pt == track.sending_pt), media[0]),
        flowing=track.flowing,
    )


def new_tracks(
    record: SessionRecord, request: NewTracks, context: Context, published: Published
) -> Outcome[TracksResponse]:
    """Publish or pull, by the client's offer or by ours. `published` holds what `publishers_of` named.

    A batch is all local or all remote; an entry without `location` is remote if it names a session.
    With an offer there is always an answer, even if every item failed, since the client waits for one.
    Raises NegotiationError.
    """
    _check_count(request.tracks, context)
    draft = Draft.of(record, context)
    locations = {_location(track) for track in request.tracks}
    if len(locations) > 1:
        raise invalid_params("The tracks of one request are all local or all remote")
    if request.description is None:
        if not request.tracks:
            raise invalid_params("Expecting tracks, or autoDiscover with a sessionDescription")
        if request.auto_discover:
            raise invalid_params("autoDiscover needs a sessionDescription")
        if "local" in locations:
            return _publish_without_offer(draft, request)
        return _pull_without_offer(draft, request, published)
    offer = take_offer(draft, request.description)
    if "remote" in locations:
        items = _pull_onto_offer(draft, offer, request, published)
    else:
        items = _publish_from_offer(draft, offer, request.tracks)
    if request.auto_discover:
        items += _discover(draft, offer)
    return _answered(draft, offer, items)


def _check_count(tracks: tuple[object, ...], context: Context) -> None:
    limit = context.limits.tracks_per_call
    if len(tracks) > limit:
        raise invalid_params(f"Expecting at most {limit} track in the request")


def _location(track: TrackRequest) -> str:
    return track.location or ("remote" if track.session is not None else "local")


def _answered(draft: Draft, offer: TakenOffer, items: list[TrackItem]) -> Outcome[TracksResponse]:
    settle(draft, offer)
    record, answer = render(draft.record(), "answer", draft.context, bundle=offer.bundle)
    return Outcome(record, TracksResponse(tuple(items), description=answer))


# Publish


def _publish_from_offer(draft: Draft, offer: TakenOffer, tracks: tuple[TrackRequest, ...]) -> list[TrackItem]:
    """Publish named sections of the client's offer; an entry without `mid` takes the next free one."""
    sending = {media.mid: media.kind for media in offer.carried if media.sends}
    named = {track.mid for track in tracks}
    items: list[TrackItem] = []
    for track in tracks:
        name = _name(track)
        mid = track.mid
        if mid is None:
            free = (
                mid
                for mid, kind in sending.items()
                if mid not in named and track.kind in (None, kind) and draft.live_publication(mid) is None
            )
            mid = next(free, None)
        if mid is None or mid not in sending:
            error = ItemError("invalid_params", f"mid {mid!r} is not a sending section of the offer")
            items.append(TrackItem(mid="", track=name, error=error))
            continue
        items.append(_publish(draft, Mid(mid), name, bidirectional=track.bidirectional))
    return items


def _publish(draft: Draft, mid: Mid, name: TrackName, *, bidirectional: bool) -> TrackItem:
    """Publish what arrives on an m-line. The same name on the same m-line again is a success."""
    mline = draft.mline(mid)
    if mline is None:
        return TrackItem(mid="", track=name, error=TRACK_NOT_FOUND)
    here = draft.live_publication(mid)
    if here is not None and here.name != name:
        error = ItemError("repeated_local_track_error", f"mid {mid!r} publishes {here.name!r} already")
        return TrackItem(mid="", track=name, error=error)
    if (error := _taken(draft, name, mid)) is not None:
        return TrackItem(mid="", track=name, error=error)
    if here is None:
        draft.publish(Publication(name, mid, mline.kind))
    if bidirectional:
        draft.put(dataclasses.replace(mline, bidirectional=True))
    return TrackItem(mid=mid, track=name)


def _taken(draft: Draft, name: TrackName, mid: Mid | None) -> ItemError | None:
    for track in draft.publications.values():
        if track.name == name and track.mid != mid and track.state in ("open", "offered"):
            return ItemError("repeated_local_track_error", f"This session publishes {name!r} already")
    return None


def _name(track: TrackRequest) -> TrackName:
    if not track.track or len(track.track) > _LONGEST_NAME:
        raise invalid_params(f"trackName is required and has at most {_LONGEST_NAME} characters")
    return track.track


def _discover(draft: Draft, offer: TakenOffer) -> list[TrackItem]:
    """Publish every sending section that nothing is published from, under a random name."""
    items: list[TrackItem] = []
    for media in offer.carried:
        if not media.sends or draft.live_publication(media.mid) is not None:
            continue
        closed = media.mid in draft.publications
        if closed and media.mid not in offer.fresh:
            continue  # its client closed it
        name = TrackName(draft.fresh_id())
        draft.publish(Publication(name, media.mid, media.kind))
        items.append(TrackItem(mid=media.mid, location="local", track=name, kind=media.kind))
    return items


def _publish_without_offer(draft: Draft, request: NewTracks) -> Outcome[TracksResponse]:
    """Publish on m-lines that are there already, which needs no SDP, or by an offer of ours."""
    proposal = Proposal(draft)
    items: list[TrackItem] = []
    proposed = False
    for track in request.tracks:
        name = _name(track)
        mline = None if track.mid is None else draft.mline(track.mid)
        if mline is not None and mline.receives:
            items.append(_publish(draft, mline.mid, name, bidirectional=False))
            continue
        if track.kind is None:
            raise invalid_params(f"kind is required to publish {name!r} without a sessionDescription")
        if (error := _taken(draft, name, None)) is not None:
            items.append(TrackItem(mid="", track=name, error=error))
            continue
        mline = proposal.publish(track.kind, bidirectional=track.bidirectional)
        draft.publish(Publication(name, mline.mid, mline.kind, state="offered"))
        items.append(TrackItem(mid=mline.mid, track=name, kind=mline.kind))
        proposed = True
    return _proposed(draft, proposal if proposed else None, items)


def _proposed(draft: Draft, proposal: Proposal | None, items: list[TrackItem]) -> Outcome[TracksResponse]:
    if proposal is None:
        return Outcome(draft.record(), TracksResponse(tuple(items)))
    record, offer = proposal.finish()
    return Outcome(record, TracksResponse(tuple(items), renegotiate=True, description=offer))


# Pull


def _look_up(track: TrackRequest, published: Published) -> PublishedTrack | ItemError:
    if track.session is None:
        raise invalid_params("sessionId is required for a remote track")
    return published.get((track.session, _name(track)), TRACK_NOT_FOUND)


def _failed(track: TrackRequest, error: ItemError) -> TrackItem:
    return TrackItem(mid="", session=track.session, track=track.track, error=error)


def _pulled(track: TrackRequest, mid: Mid) -> TrackItem:
    return TrackItem(mid=mid, session=track.session, track=track.track, simulcast=track.simulcast)


def _pull_without_offer(draft: Draft, request: NewTracks, published: Published) -> Outcome[TracksResponse]:
    """Pull onto bidirectional transceivers that are there, and the rest by an offer of ours.

    A plain `mid` that is no bidirectional transceiver is ignored: clients pass on the whole entry that
    the publisher got, whose mid belongs to another PeerConnection.
    """
    proposal = Proposal(draft)
    items: list[TrackItem] = []
    proposed = False
    for track in request.tracks:
        source = _look_up(track, published)
        if isinstance(source, ItemError):
            items.append(_failed(track, source))
            continue
        existing = _existing(draft, track)
        if isinstance(existing, MLine):
            pull = _attached(existing, source, track)
            if isinstance(pull, ItemError):
                items.append(_failed(track, pull))
            else:
                draft.subscribe(pull)
                items.append(_pulled(track, existing.mid))
            continue
        mline = proposal.pull(source, track) if existing is None else existing
        if isinstance(mline, ItemError):
            items.append(_failed(track, mline))
            continue
        items.append(_pulled(track, mline.mid))
        proposed = True
    return _proposed(draft, proposal if proposed else None, items)


def _resolve(record: SessionRecord, mid: str) -> Mid:
    """The mid that is meant: itself, or that of the transceiver that publishes "#name" here ("" if none)."""
    if not mid.startswith("#"):
        return Mid(mid)
    track = record.publication(TrackName(mid[1:]))
    return Mid("") if track is None else track.mid


def _existing(draft: Draft, track: TrackRequest) -> MLine | ItemError | None:
    """The bidirectional transceiver that a pull names; None if it wants a new one."""
    if track.mid is None:
        return None
    mline = draft.mline(_resolve(draft.base, track.mid))
    if mline is not None and mline.bidirectional and mline.sends and not mline.offered:
        return mline
    if track.mid.startswith("#"):
        return ItemError("invalid_params", f"mid {track.mid!r} names no bidirectional transceiver here")
    return None


def _attached(mline: MLine, source: PublishedTrack, request: TrackRequest) -> Subscription | ItemError:
    """The subscription that sends `source` on an m-line that announced a stream."""
    if source.kind != mline.kind:
        return ItemError("invalid_params", f"mid {mline.mid!r} is {mline.kind}, the track is {source.kind}")
    way = mlines.route(source, mline.codecs, mline.extensions)
    if isinstance(way, ItemError):
        return way
    return mlines.subscription(source, mline, way, simulcast=request.simulcast, state="open")


def _pull_onto_offer(
    draft: Draft, offer: TakenOffer, request: NewTracks, published: Published
) -> list[TrackItem]:
    """Pull onto receiving sections of the client's offer: by `mid`, else by kind and order.

    By order the sections that are new in this offer come first, receive-only ones before others.
    """
    free = [media for media in offer.carried if media.receives and draft.live_subscription(media.mid) is None]
    free.sort(key=lambda media: (media.sends, media.mid not in offer.fresh))
    receiving = {media.mid for media in offer.carried if media.receives}
    named = {track.mid for track in request.tracks if track.mid is not None}
    items: list[TrackItem] = []
    for track in request.tracks:
        source = _look_up(track, published)
        if isinstance(source, ItemError):
            items.append(_failed(track, source))
            continue
        mline = None if track.mid is None else draft.mline(_resolve(draft.base, track.mid))
        if mline is None or mline.mid not in receiving:
            chosen = next(
                (
                    media
                    for media in free
                    if media.kind == source.kind
                    and media.mid not in named
                    and (track.bidirectional or not media.sends)
                ),
                None,
            )
            mline = None if chosen is None else draft.mline(chosen.mid)
        if mline is None:
            text = f"The offer has no unused section that receives {source.kind}"
            items.append(_failed(track, ItemError("invalid_params", text)))
            continue
        mline = dataclasses.replace(
            mline,
            bidirectional=mline.bidirectional or track.bidirectional,
            sending=mline.sending if draft.live_subscription(mline.mid) is not None else None,
        )
        if mline.sending is None:
            rtx = any(codec.apt is not None for codec in mline.codecs)
            mline = dataclasses.replace(mline, sending=draft.announce(source.session, rtx=rtx))
        pull = _attached(mline, source, track)
        if isinstance(pull, ItemError):
            items.append(_failed(track, pull))
            continue
        draft.put(mline)
        draft.subscribe(pull)
        free = [media for media in free if media.mid != mline.mid]
        items.append(_pulled(track, mline.mid))
    return items


# Close


def close_tracks(record: SessionRecord, request: CloseTracks, context: Context) -> Outcome[TracksResponse]:
    """Close what is published and pulled on some mids.

    With an offer there is always an answer, and an m-line that is still active in it though its
    track is closed here is answered as inactive (partytracks stops only the first transceiver of a
    batch). `force` needs no offer; one that comes nevertheless is answered. Raises NegotiationError.
    """
    _check_count(request.mids, context)
    if not request.mids:
        raise invalid_params("Expecting at least one track in the request")
    if request.description is None and not request.force:
        raise invalid_params("sessionDescription is required unless force is true")
    draft = Draft.of(record, context)
    # what was open before the offer, as that closes what its client stopped
    still_open = {
        item.mid for item in (*record.publications, *record.subscriptions) if item.state != "closed"
    }
    offer = None if request.description is None else take_offer(draft, request.description)
    items: list[TrackItem] = []
    for mid in request.mids:
        resolved = _resolve(record, mid)
        if resolved in still_open:
            still_open.remove(resolved)
            draft.close(resolved)
            items.append(TrackItem(mid=resolved))
        else:
            items.append(TrackItem(mid=mid, error=TRACK_CLOSED))
    if offer is not None:
        return _answered(draft, offer, items)
    return Outcome(draft.record(), TracksResponse(tuple(items)))


# Update


def update_tracks(
    record: SessionRecord, request: UpdateTracks, context: Context, published: Published
) -> Outcome[TracksResponse]:
    """Change the source or the wanted layer of what is received on some mids; no SDP.

    `published` holds the sources that `publishers_of` named. An entry that names the publication that
    is there already, or none, changes only the layer, and without `simulcast` nothing. Raises
    NegotiationError.
    """
    _check_count(request.tracks, context)
    check_changeable(record)
    if not request.tracks:
        raise invalid_params("Expecting at least one track in the request")
    pulls = {pull.mid: pull for pull in record.subscriptions}
    items: list[TrackItem] = []
    for track in request.tracks:
        mid = Mid("") if track.mid is None else _resolve(record, track.mid)
        pull = _updated(record.mline(mid), pulls.get(mid), track, published)
        if isinstance(pull, ItemError):
            failed = _failed(track, pull)
            items.append(dataclasses.replace(failed, mid=mid, simulcast=track.simulcast))
        else:
            pulls[mid] = pull
            items.append(
                TrackItem(mid=mid, session=pull.publisher, track=pull.track, simulcast=track.simulcast)
            )
    changed = dataclasses.replace(record, subscriptions=tuple(pulls.values()))
    return Outcome(changed, TracksResponse(tuple(items)))


def _updated(
    mline: MLine | None, pull: Subscription | None, request: TrackRequest, published: Published
) -> Subscription | ItemError:
    """What an m-line sends after one entry; the error leaves it as it was."""
    if mline is None or not mline.sends or mline.offered:
        return NOT_UPDATABLE
    named = request.session is not None and request.track is not None
    same = pull is not None and (pull.publisher, pull.track) == (request.session, request.track)
    if pull is not None and pull.state == "open" and (same or not named):
        if request.simulcast is None:
            return pull
        return _with_wish(pull, request.simulcast)
    if not named:
        return NOT_UPDATABLE
    source = _look_up(request, published)
    if isinstance(source, ItemError):
        return source
    attached = _attached(mline, source, request)
    if isinstance(attached, ItemError):
        return ItemError("update_track_error", attached.text, attached.subcode)
    return attached


def _with_wish(pull: Subscription, wish: Simulcast) -> Subscription | ItemError:
    """The pull with another wanted layer. A name that the publisher has no layer for is told, unless it
    only says where to begin looking for the next one."""
    if not pull.rids:
        return NOT_SIMULCAST
    if wish.preferred_rid and wish.preferred_rid not in pull.rids and wish.rid_not_available == "none":
        layers = ", ".join(pull.rids)
        text = f"The track has no layer {wish.preferred_rid!r}; it has {layers}"
        return ItemError("update_track_error", text)
    return dataclasses.replace(pull, simulcast=wish)
