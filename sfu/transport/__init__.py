"""ICE-lite and DTLS as machines without sockets or clocks."""
