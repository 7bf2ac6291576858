"""TURN in this deployment: keys and revocations in files, a server beside the node, credentials over HTTP."""
