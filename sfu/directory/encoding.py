"""Apps, certificates and nodes as JSON, for the stores that outlive the process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from sfu.base.ids import AppId
from sfu.directory.interface import App, NodeRecord, StoredCertificate

if TYPE_CHECKING:
    from collections.abc import Mapping

_CERTIFICATE = TypeAdapter(StoredCertificate)
_NODE = TypeAdapter(NodeRecord)


def app_entry(app: App) -> dict[str, Any]:
    """An app as JSON has it."""
    return {
        "id": app.id,
        "name": app.name,
        "secret_sha256": [digest.hex() for digest in app.secret_digests],
        "created_at": app.created_at,
    }


def app_of(entry: Mapping[str, Any]) -> App:
    """The app of what `app_entry` made. Raises ValueError, KeyError, TypeError."""
    digests = tuple(bytes.fromhex(text) for text in entry["secret_sha256"])
    if not digests or any(len(digest) != 32 for digest in digests):
        raise ValueError("a secret's digest has 64 hex digits")
    return App(AppId(str(entry["id"])), str(entry["name"]), digests, float(entry["created_at"]))


def app_to_json(app: App) -> bytes:
    """An app as JSON."""
    return json.dumps(app_entry(app)).encode()


def app_from_json(data: bytes) -> App:
    """The app that `app_to_json` wrote. Raises ValueError."""
    try:
        return app_of(json.loads(data))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an app: {error}") from error


def certificate_to_json(certificate: StoredCertificate) -> bytes:
    """A certificate, with its key, as JSON."""
    return _CERTIFICATE.dump_json(certificate)


def certificate_from_json(data: bytes) -> StoredCertificate:
    """The certificate that `certificate_to_json` wrote. Raises ValueError, without what was read."""
    return _read(_CERTIFICATE, data, "certificate")


def node_to_json(node: NodeRecord) -> bytes:
    """A node as JSON."""
    return _NODE.dump_json(node)


def node_from_json(data: bytes) -> NodeRecord:
    """The node that `node_to_json` wrote. Raises ValueError."""
    return _read(_NODE, data, "node")


def _read(adapter: TypeAdapter[Any], data: bytes, what: str) -> Any:
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        raise ValueError(f"not a {what}: {error.error_count()} errors, {error.errors()[0]['loc']}") from None
