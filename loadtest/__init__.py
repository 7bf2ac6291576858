"""The load generator: many light clients against one server of the session API, and what they measured.

Each client is an honest WebRTC endpoint (ICE, DTLS, SRTP) that shares no code with the server but the
lowest wire layer: what is measured never runs through what measures it.
"""
