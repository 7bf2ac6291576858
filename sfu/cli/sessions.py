"""`orchard sessions`: what the running server holds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sfu.base.privileges import USER
from sfu.base.settings import Config
from sfu.cli.options import takes_settings
from sfu.cli.running import RunningServer
from sfu.cli.terminal import as_text, out
from sfu.cli.user import data_of
from sfu.node import DATA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfu.api.stats import PublishedTrackStatistics, PulledTrackStatistics

sessions = typer.Typer(help="See and close the sessions of the running server.", no_args_is_help=True)


@sessions.command("list")
@takes_settings(DATA, USER)
def list_sessions(
    config: Config,
    *,
    app: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this app")] = None,
) -> None:
    """List the sessions, oldest first."""
    table = Table(
        "id", "app", "state", "age", "publishes", "pulls", "correlation id", box=None, header_style="bold"
    )
    for line in _server(config).sessions(app):
        table.add_row(
            line.id,
            line.app,
            line.state,
            f"{max(0.0, time.time() - line.created_at):.0f} s",
            str(line.publishes),
            str(line.pulls),
            as_text(line.correlation_id or ""),
        )
    out.print(table)


@sessions.command("show")
@takes_settings(DATA, USER)
def show(
    config: Config, *, session: Annotated[str, typer.Argument(metavar="ID", help="The session's id")]
) -> None:
    """Show what a session's media has done since its client came."""
    statistics = _server(config).statistics(session)
    transport = statistics.transport
    if transport is None:
        out.print(f"{statistics.state}: its client has not come", highlight=False)
        return
    out.print(
        f"{statistics.state}; round trip {_ms(transport.round_trip_time)}; "
        f"received {transport.packets_received} packets, {transport.bytes_received} bytes, "
        f"lost {transport.packets_lost}, refused {transport.packets_refused}; "
        f"sent {transport.packets_sent} packets, {transport.bytes_sent} bytes",
        highlight=False,
        soft_wrap=True,
    )
    if statistics.published:
        out.print()
        out.print(_published(statistics.published))
    if statistics.pulled:
        out.print()
        out.print(_pulled(statistics.pulled))


@sessions.command("close")
@takes_settings(DATA, USER)
def close(
    config: Config,
    *,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Sessions to close")] = None,
    app: Annotated[str | None, typer.Option(metavar="ID", help="Close all sessions of this app")] = None,
) -> None:
    """Close sessions: their clients see the connection end."""
    server = _server(config)
    if not ids and app is None:
        raise typer.BadParameter("name sessions, or an app with --app")
    for session in ids or []:
        server.close_session(session)
    closed = len(ids or [])
    if app is not None:
        closed += server.close_sessions_of(app)
    out.print(f"{closed} sessions closed", highlight=False)


def _published(tracks: Sequence[PublishedTrackStatistics]) -> Table:
    columns = ("publishes", "mid", "kind", "rid", "ssrc", "packets", "lost", "repaired", "jitter", "kbit/s")
    table = Table(
        *columns, "keyframes", "the last", "asked for", "last packet", box=None, header_style="bold"
    )
    for track in tracks:
        for layer in track.layers:
            table.add_row(
                as_text(track.track_name),
                as_text(track.mid),
                track.kind,
                as_text(layer.rid or ""),
                str(layer.ssrc),
                str(layer.packets_received),
                str(layer.packets_lost),
                str(layer.packets_repaired),
                _ms(layer.jitter),
                _kbit(layer.bitrate),
                str(layer.keyframes_received),
                _ago(layer.last_keyframe_age),
                str(track.keyframe_requests_sent),
                _ago(layer.last_packet_age),
            )
    return table


def _pulled(tracks: Sequence[PulledTrackStatistics]) -> Table:
    columns = ("pulls", "of session", "mid", "kind", "rid", "ssrc", "packets", "lost", "sent again")
    table = Table(*columns, "round trip", "nacks", "asked for", "flows", box=None, header_style="bold")
    for track in tracks:
        table.add_row(
            as_text(track.track_name),
            as_text(track.session_id),
            as_text(track.mid),
            track.kind,
            as_text(track.rid or ""),
            str(track.ssrc),
            str(track.packets_sent),
            str(track.packets_lost),
            str(track.retransmitted_packets_sent),
            _ms(track.jitter),
            _kbit(track.bitrate),
            _ms(track.round_trip_time),
            str(track.nacks_received),
            str(track.keyframe_requests_received),
            "yes" if track.flowing else "no",
        )
    return table


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


def _ago(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s ago"


def _kbit(bits: int) -> str:
    return f"{bits / 1000:.0f}"


def _server(config: Config) -> RunningServer:
    return RunningServer(data_of(config))
