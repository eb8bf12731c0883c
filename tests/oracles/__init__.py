"""What programs that share nothing with lbtop say about a capture."""
