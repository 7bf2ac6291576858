"""Negotiation: pure functions on the session record."""
