"""What a termination mode means: the way of one request, step by step, and who can read it at each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import cleandoc

from lbtop.faces.terminal import Terminal
from lbtop.model.judgement import Mode
from lbtop.model.record import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    where: str
    what: str
    readers: str


@dataclass(frozen=True, slots=True)
class ModePage:
    title: str
    summary: str
    also_called: str
    steps: tuple[Step, ...]
    inferred: str
    confirm: tuple[str, ...]
    consequences: str


PAGES: dict[Mode, ModePage] = {
    Mode.BRIDGING: ModePage(
        "TLS ends at the load balancer, and a second TLS session runs from there to the target",
        "Encrypted on every hop, readable inside the load balancer.",
        "re-encrypt (OpenShift), SSL bridging (F5), end-to-end TLS (Azure), HTTPS listener with an HTTPS target group (AWS)",
        (
            Step(
                "client", "opens TLS to the load balancer; the certificate it checks is the load balancer's", "nobody on the way"
            ),
            Step(
                "load balancer",
                "decrypts, reads the request, picks a target by cookie or algorithm, adds its headers",
                "the load balancer, its logs, whoever can reach its memory or key",
            ),
            Step(
                "to the target", "its own, new TLS session, usually reused for the requests of many clients", "nobody on the way"
            ),
            Step("target", "decrypts; sees the load balancer as its peer, the client in X-Forwarded-For", "the target"),
        ),
        "TLS arrives at the target, but one client hello family, one TCP stack and few addresses speak "
        "for many users. Proof: with both "
        "sides in view, the ClientHello.random in front differs from the one behind.",
        (
            "tshark -r x.pcap -Y 'tls.handshake.type==1' -T fields -e ip.src -e tls.handshake.random -e "
            "tls.handshake.extensions_server_name",
        ),
        "Cookie stickiness and header routing work. Many load balancers do not check the target's "
        "certificate: encrypted is not authenticated.",
    ),
    Mode.PASSTHROUGH: ModePage(
        "The client's own TLS session reaches the target",
        "Encrypted from end to end; the load balancer forwards bytes it cannot read.",
        "passthrough route (OpenShift), TCP listener with a TCP target group (AWS NLB), mode tcp (HAProxy), FastL4 (F5)",
        (
            Step("client", "opens TLS; the certificate it checks is the target's own", "nobody on the way"),
            Step(
                "load balancer",
                "picks a target for the connection by address, by hash, or by the SNI it reads from the client hello",
                "the SNI and sizes are visible, nothing else",
            ),
            Step("target", "answers the handshake with its own key and decrypts", "the target only"),
        ),
        "Many client hello families with SNI, GREASE and h2 arrive at the target, as browsers send "
        "them. Proof: with both sides in view, "
        "the same ClientHello.random on both.",
        ("tshark -r x.pcap -Y 'tls.handshake.type==1' -T fields -e ip.src -e tls.handshake.random -e tls.handshake.ja4",),
        "No cookie stickiness, no X-Forwarded-For (use PROXY protocol), certificates live on every "
        "target, resumption fails wherever "
        "targets do not share ticket keys.",
    ),
    Mode.OFFLOAD: ModePage(
        "TLS ends at the load balancer; plain HTTP goes on to the target",
        "Encrypted up to the load balancer, readable from there on.",
        "edge (OpenShift), SSL offload (F5), HTTPS listener with an HTTP target group (AWS ALB)",
        (
            Step("client", "opens TLS to the load balancer and checks its certificate", "nobody on the way"),
            Step(
                "load balancer",
                "decrypts, picks a target by cookie or algorithm, adds X-Forwarded-Proto: https and its other headers",
                "the load balancer, its logs, whoever can reach its memory or key",
            ),
            Step(
                "to the target",
                "plain HTTP over kept-alive connections that many clients share",
                "everyone on the path: mirrors, neighbours, switches, other hosts of the network",
            ),
            Step("target", "reads the request as it is; must trust X-Forwarded-* from the load balancer only", "the target"),
        ),
        "Plain HTTP arrives, and every request carries what a terminating proxy adds "
        "(X-Forwarded-Proto: https with that product's other "
        "headers, PROXY v2 with the client's TLS bit), or the front leg is in view and is TLS.",
        ("tcpdump -A -n -c 20 -i any 'tcp dst port 8080' | grep -i -E 'x-forwarded-proto|x-amzn-trace-id'",),
        "Whatever crosses this hop is readable there: cookies, passwords, tokens. Encrypt it (bridging) "
        "where the network is shared.",
    ),
    Mode.L4_TLS: ModePage(
        "A layer-4 load balancer ends TLS and forwards the plain bytes unchanged",
        "Encrypted up to the load balancer, readable from there on, and the target sees no sign of it.",
        "TLS listener with a TCP target group (AWS NLB), mode tcp with ssl on bind (HAProxy), hitch, stunnel",
        (
            Step("client", "opens TLS to the load balancer and checks its certificate", "nobody on the way"),
            Step(
                "load balancer",
                "decrypts and copies bytes, one back connection per client connection; adds nothing, or a PROXY header",
                "the load balancer",
            ),
            Step("to the target", "the client's request in clear, byte for byte", "everyone on the path"),
            Step("target", "reads plain HTTP and cannot tell from it that the client used TLS", "the target"),
        ),
        "Plain HTTP with nothing added, while a consistent browser behaves as it does over HTTPS only "
        "(Sec-Fetch-Site, br or zstd, "
        "__Secure- cookies, https origins), or a PROXY v2 header whose TLS bit is set. Without such a "
        "tell it cannot be told from `none`.",
        ("tcpdump -A -n -c 20 -i any 'tcp dst port 8080' | grep -i -E 'sec-fetch-site|accept-encoding|origin'",),
        "Cookie stickiness is impossible (and on an NLB's TLS listener source-address stickiness too). "
        "Redirects to https loop unless the "
        "application is told that the client's hop is TLS.",
    ),
    Mode.NONE: ModePage(
        "Nothing is encrypted on the way",
        "Readable on every hop.",
        "HTTP listener (AWS), mode http or tcp without ssl (HAProxy)",
        (
            Step("client", "sends plain HTTP", "everyone on the client's path: hotspots, providers, middleboxes"),
            Step(
                "load balancer", "reads it too (layer 7) or forwards it (layer 4)", "the load balancer and everyone on the path"
            ),
            Step("target", "reads the request", "the target"),
        ),
        "Plain bytes on connections that still show the clients' own, diverse TCP stacks (who ends TLS "
        "ends TCP), or both legs in view and "
        "both readable, or every request says X-Forwarded-Proto: http.",
        ("tcpdump -n -c 50 -i any 'tcp[tcpflags] & tcp-syn != 0 and dst port 80'",),
        "Everything can be read and changed on the way. Give the listener a certificate and redirect.",
    ),
}

_UNKNOWN = (
    "The traffic in view cannot tell. lbtop answers `unknown` when its best candidate is below 0.8, names the candidates with "
    "their probabilities, and says what observation would settle it: usually a capture on the other side of the load balancer, "
    "or a longer one. A wrong diagnosis costs more than none."
)


def unknown_page(terminal: Terminal) -> str:
    """What the answer `unknown` means."""
    return terminal.plain("\n".join(terminal.paragraph(_UNKNOWN))) + "\n"


def mode_page(mode: Mode, settings: Iterable[tuple[str, str]], terminal: Terminal) -> str:
    """The page of a mode. ``settings``: product and what to set there to encrypt the hop to the target."""
    page = PAGES[mode]
    lines = [*terminal.paragraph(page.title + "."), ""]
    lines[0] = terminal.paint(lines[0], "bold")
    lines += terminal.paragraph(page.summary) + terminal.paragraph(f"Also called: {page.also_called}.")
    lines += ["", terminal.paint("The way of a request", "bold")]
    for number, step in enumerate(page.steps, 1):
        lines += terminal.paragraph(f"{step.where}: {step.what}", "     ", f"  {number}. ")
        lines += [
            terminal.paint(line, "dim") for line in terminal.paragraph(f"who can read it: {step.readers}", "       ", "     ")
        ]
    lines += ["", terminal.paint("How lbtop infers it", "bold"), *terminal.paragraph(page.inferred, "  ")]
    lines += ["", terminal.paint("How to be sure", "bold"), *(f"  $ {command}" for command in page.confirm)]
    lines += ["", terminal.paint("What follows from it", "bold"), *terminal.paragraph(page.consequences, "  ")]
    told = [(product, setting) for product, setting in settings if setting and setting != "-"]
    if told and mode in (Mode.OFFLOAD, Mode.L4_TLS, Mode.NONE):
        lines += ["", terminal.paint("How to encrypt the hop to the target", "bold")]
        for product, setting in told:
            lines += terminal.paragraph(f"{product}: {setting}", "    ", "  ")
    return terminal.plain("\n".join(lines)) + "\n"


def finding_page(id: str, severity: str, summary: str, explanation: str, terminal: Terminal) -> str:
    """The page of a finding: when it fires, and its rule's own explanation. Indented lines "
    "(commands) are kept as they are."""
    lines = [terminal.paint(id, "bold") + f" ({severity})", *terminal.paragraph(f"Fires when {summary.rstrip('.')}."), ""]
    for block in _blocks(cleandoc(explanation)):
        lines += block if any(line.startswith((" ", "$", "-")) for line in block) else terminal.paragraph(" ".join(block))
        lines.append("")
    return terminal.plain("\n".join(lines).rstrip()) + "\n"


def _blocks(text: str) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def overview(findings: Sequence[tuple[str, str, str]], terminal: Terminal) -> str:
    """Everything there is a page for: modes, then findings as (id, severity, summary)."""
    lines = [terminal.paint("Where TLS can end (lbtop explain MODE)", "bold")]
    for mode, page in PAGES.items():
        lines += terminal.paragraph(page.title, " " * 15, f"  {mode.value:<13}")
    lines += terminal.paragraph("The traffic in view cannot tell", " " * 15, f"  {'unknown':<13}")
    lines += ["", terminal.paint("Findings (lbtop explain ID)", "bold")]
    width = max((len(id) for id, _, _ in findings), default=0)
    for id, severity, summary in findings:
        lines += terminal.paragraph(f"{severity:<8}  {summary}", " " * (width + 14), f"  {id:<{width}}  ")
    return terminal.plain("\n".join(lines)) + "\n"
