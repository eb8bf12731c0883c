"""Packets to observations: capture files, the wire decoder, the live probe. Installed as ``lbtop.probes``."""
