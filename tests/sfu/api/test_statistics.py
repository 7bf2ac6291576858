"""How a session's statistics are written, and that they are the packet path's own numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.sessions.errors import session_gone
from sfu.sessions.statistics import SessionStatistics
from tests.security.media.world import APP as SITE_APP
from tests.security.media.world import hears, site_at
from tests.sfu.api.conftest import APP
from tests.sfu.api.figures import MEDIA, PUBLISHER, SESSION

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.security.media.world import Site
    from tests.sfu.api.conftest import Serve

URL = f"/orchard/v1/apps/{APP}/sessions/{SESSION}/statistics"


async def test_statistics_have_the_names_of_webrtc_stats_and_leave_out_what_is_not_known(
    serve: Serve,
) -> None:
    async with serve(SessionStatistics(SESSION, "connected", MEDIA)) as (api, service):
        response = await api.get(URL)
        assert service.asked == [("statistics", APP, SESSION, None)]
    assert response.status_code == 200
    assert response.json() == {
        "sessionId": SESSION,
        "state": "connected",
        "transport": {
            "packetsReceived": 1,
            "bytesReceived": 2,
            "packetsSent": 3,
            "bytesSent": 4,
            "packetsLost": 5,
            "packetsRefused": 6,
            "roundTripTime": 0.25,
            "repairRoundTripTime": 0.375,
        },
        "published": [
            {
                "mid": "0",
                "trackName": "camera",
                "kind": "video",
                "keyframeRequestsSent": 13,
                "layers": [
                    {
                        "rid": "h",
                        "ssrc": 17,
                        "packetsReceived": 7,
                        "bytesReceived": 8,
                        "packetsLost": 9,
                        "nacksSent": 31,
                        "packetsRepaired": 32,
                        "packetsGivenUp": 33,
                        "packetsDuplicated": 34,
                        "cachedBytes": 35,
                        "jitter": 0.5,
                        "bitrate": 12,
                        "retransmittedPacketsReceived": 11,
                        "keyframesReceived": 10,
                        "lastPacketAge": 0.125,
                    }
                ],
            }
        ],
        "pulled": [
            {
                "mid": "1",
                "sessionId": PUBLISHER,
                "trackName": "mic",
                "kind": "audio",
                "ssrc": 18,
                "flowing": True,
                "packetsSent": 14,
                "bytesSent": 15,
                "bitrate": 21,
                "packetsLost": 16,
                "fractionLost": 0.75,
                "jitter": 1.5,
                "nacksReceived": 19,
                "nacksRefused": 36,
                "nacksMissed": 37,
                "retransmittedPacketsSent": 38,
                "retransmittedBytesSent": 39,
                "keyframeRequestsReceived": 20,
            }
        ],
    }


async def test_a_session_whose_client_has_not_come_has_empty_statistics(serve: Serve) -> None:
    async with serve(SessionStatistics(SESSION, "new", None)) as (api, _):
        assert (await api.get(URL)).json() == {
            "sessionId": SESSION,
            "state": "new",
            "published": [],
            "pulled": [],
        }


async def test_statistics_want_the_apps_secret_and_a_session_that_is_there(serve: Serve) -> None:
    async with serve(session_gone()) as (api, service):
        refused = await api.get(URL, headers={"authorization": "Bearer wrong"})
        assert (refused.status_code, service.asked) == (401, [])
        gone = await api.get(URL)
        assert (gone.status_code, gone.json()["errorCode"]) == (410, "session_error")


async def test_every_field_is_described(serve: Serve) -> None:
    async with serve(headers={}) as (api, _):
        schemas = (await api.get("/openapi.json")).json()["components"]["schemas"]
    told = {
        f"{name}.{field}": schema.get("description")
        for name, fields in schemas.items()
        if "Statistics" in name
        for field, schema in fields["properties"].items()
    }
    assert len(told) > 40
    assert [field for field, description in told.items() if not description] == []


async def _statistics(site: Site, session: str) -> httpx.Response:
    root = site.server.url
    return await site.http.get(f"{root}/orchard/v1/apps/{SITE_APP}/sessions/{session}/statistics")


async def test_the_numbers_of_a_call_are_those_of_its_media(tmp_path: Path) -> None:
    async with site_at(tmp_path) as site:
        speaker, listener = await site.connected(), await site.connected()
        await listener.pull(speaker)
        await hears(listener, speaker)
        published = (await _statistics(site, speaker.session)).json()
        assert (published["state"], published["pulled"]) == ("connected", [])
        [track] = published["published"]
        [layer] = track["layers"]
        assert (track["trackName"], track["kind"], layer["ssrc"]) == ("sound", "audio", speaker.ssrc)
        assert layer["packetsReceived"] == published["transport"]["packetsReceived"] == speaker.sequence
        assert 0 <= layer["lastPacketAge"] < 15
        pulled = (await _statistics(site, listener.session)).json()
        [subscription] = pulled["pulled"]
        assert subscription["sessionId"] == speaker.session
        assert subscription["flowing"]
        assert subscription["packetsSent"] == len(listener.rtp)
        assert {packet.ssrc for packet in listener.rtp} == {subscription["ssrc"]}
        new = await site.api.new_session()
        assert (await _statistics(site, new)).json()["state"] == "new"
        assert (await _statistics(site, "f" * 32)).status_code == 410
