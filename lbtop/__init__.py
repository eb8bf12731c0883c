"""lbtop: where TLS ends, what pins clients to targets and why one target is hot, from traffic alone."""

__version__ = "0.1.0"
