"""A STUN and TURN server (RFC 8489, RFC 8656) that runs alone or inside `orchard serve`."""
