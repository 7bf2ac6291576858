"""Wire formats: bytes to values and back. Pure; any bytes give a value or one typed error."""
