"""Rewrites of a recording: capture defects."""
