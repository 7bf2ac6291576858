"""The meeting app's server half: serves the page and stands between it and the session API."""
