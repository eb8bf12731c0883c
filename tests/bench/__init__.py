"""Speed against the peers that are installed. Not a test: nothing timed may fail one."""
