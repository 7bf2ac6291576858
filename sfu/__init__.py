"""Orchard: a self-hosted WebRTC SFU with an HTTP API of sessions and tracks."""

__version__ = "0.1.0"
