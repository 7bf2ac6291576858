"""The directory of a cluster, in Redis or Valkey."""
