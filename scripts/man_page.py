"""Prints docs/lbtop.1, the manual page, from the commands themselves: ``make docs``."""

from __future__ import annotations

from lbtop.cli.command import load
from lbtop.cli.completion import commands

HEAD = """\
.\\" Made by scripts/man_page.py
.TH LBTOP 1 "" "lbtop" "User commands"
.SH NAME
lbtop \\- where TLS ends behind a load balancer, what pins clients to targets, and why one target is hot
.SH SYNOPSIS
.B lbtop
.I COMMAND
.RI [ options ]
.SH DESCRIPTION
lbtop reads traffic, live on a backend host or from capture files, and tells from it alone where TLS ends, who can read the
decrypted data and which classes of secret are in it, what pins a client to a target and whether that works, how even the load is,
and what breaks sessions and connections. Every verdict comes with its evidence; where the traffic cannot tell, the answer is
.IR unknown .
.PP
Secrets never leave the parser: values are hashed with a key that exists only in memory.
.SH COMMANDS
"""

TAIL = """\
.SH EXIT STATUS
0 no finding above info; 1 findings above info, or an expectation missed; 2 unusable input or arguments.
.SH FILES
.TP
.I $XDG_CONFIG_HOME/lbtop/settings.toml
Theme and hidden columns of the dashboard.
.SH ENVIRONMENT
.TP
.B NO_COLOR
No colour in text and dashboard.
.SH SEE ALSO
.BR tcpdump (8),
.BR tshark (1),
.BR ss (8)
"""


def roff(text: str) -> str:
    """Text that roff prints as it is."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")


def page() -> str:
    parts = [HEAD]
    for line in commands():
        parts.append(f".SS lbtop {line.name}\n{roff(line.summary[:1].upper() + line.summary[1:])}.\n")
        for option in line.options:
            value = f" {roff('|'.join(option.choices) or 'VALUE')}" if option.takes_value else ""
            names = ", ".join(f"\\fB{roff(flag)}\\fR" for flag in option.flags)
            parts.append(f".TP\n{names}{value}\n{roff(option.help)}\n")
        parts.append(".PP\nExamples:\n.PP\n.nf\n" + "\n".join(roff(text) for text in load(line.name).EXAMPLES) + "\n.fi\n")
    return "".join([*parts, TAIL])


if __name__ == "__main__":
    print(page(), end="")
