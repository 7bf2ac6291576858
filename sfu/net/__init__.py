"""Batched UDP and the addresses of datagrams."""
