"""The command line: options, exit codes. The only package that may import everything."""


def main() -> int:
    return 0
