"""The load generator: many light clients against one server of the session API, and what they measured.

`orchard loadtest` (cli.py) runs a scenario (scenarios/) of clients (client.py, crowd.py, the compiled
seal.pyx) and keeps what came of it (report.py, html.py, compare.py, budget.py).

Each client is an honest WebRTC endpoint (ICE, DTLS, SRTP) that shares no code with the server but the
lowest wire layer: what is measured never runs through what measures it.
"""
