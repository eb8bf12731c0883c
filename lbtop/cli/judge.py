"""From a diagnosis to an exit status: what was expected, what is accepted."""

from __future__ import annotations

import os
from collections.abc import Iterable

from lbtop.model.errors import LbtopError
from lbtop.model.judgement import UNKNOWN, Mechanism, Mode, Severity
from lbtop.model.record import dataclass
from lbtop.model.snapshot import Service, Snapshot
from lbtop.model.text import safe_text

_WORDS = {
    "termination": [mode.value for mode in Mode] + [UNKNOWN],
    "mechanism": [mechanism.value for mechanism in Mechanism] + [UNKNOWN],
}


@dataclass(frozen=True, slots=True)
class Expectation:
    termination: str | None = None
    mechanism: str | None = None
    service: str | None = None  # None: every service

    def misses(self, snapshot: Snapshot) -> list[str]:
        """One sentence per service that differs; one as well where no service is there to agree."""
        services = [s for s in snapshot.services if self.service in (None, s.service)]
        if not services:
            return [f"expected a service {self.service!r}, found none" if self.service else "expected a service, found none"]
        return [miss for service in services for miss in self._misses(service)]

    def _misses(self, service: Service) -> list[str]:
        verdict = service.termination.verdict
        mechanism = service.stickiness.verdict.token if service.stickiness is not None else UNKNOWN
        sticky = service.stickiness.verdict.confidence if service.stickiness is not None else 0.0
        pairs = [
            ("termination", self.termination, verdict.token, verdict.confidence),
            ("mechanism", self.mechanism, mechanism, sticky),
        ]
        return [
            f"expected {name}={wanted} at {service.service}, found {found} (confidence {confidence:.2f})"
            for name, wanted, found, confidence in pairs
            if wanted is not None and wanted != found
        ]


def expectation(text: str) -> Expectation:
    """``termination=offload,mechanism=lb_cookie,service=shop``, any of them. Raises LbtopError."""
    values: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = (side.strip() for side in part.partition("="))
        if name not in (*_WORDS, "service") or not value:
            raise LbtopError(f"--expect {safe_text(text)}: write termination=MODE,mechanism=MECHANISM[,service=NAME]")
        if name in _WORDS and value not in _WORDS[name]:
            raise LbtopError(f"--expect: no {name} is called {safe_text(value)!r}; there are {', '.join(_WORDS[name])}")
        values[name] = value
    if not set(values) & set(_WORDS):
        raise LbtopError(f"--expect {safe_text(text)}: says what service, but not what to expect of it")
    return Expectation(**values)


def acceptances(arguments: Iterable[str], known: Iterable[str]) -> list[str]:
    """``ID`` or ``ID@SERVICE`` per accepted finding. An argument is one, or a file of such lines. Raises LbtopError."""
    ids = frozenset(known)
    accepted: list[str] = []
    for argument in arguments:
        if argument.partition("@")[0] in ids:
            accepted.append(argument)
        elif os.path.isfile(argument):
            try:
                with open(argument, encoding="utf-8") as file:
                    lines = [line.partition("#")[0].strip() for line in file]
            except (OSError, UnicodeDecodeError) as error:
                raise LbtopError(f"cannot read {safe_text(argument)}: {error}") from None
            for number, line in enumerate(lines, 1):
                id = line.partition("@")[0]
                if line and id not in ids:
                    raise LbtopError(
                        f"{safe_text(argument)} line {number}: no finding is called {safe_text(id)!r} (lbtop explain)"
                    )
            accepted += [line for line in lines if line]
        else:
            raise LbtopError(f"--accept {safe_text(argument)}: neither a finding (lbtop explain lists them) nor a file")
    return accepted


def raises_status(snapshot: Snapshot) -> bool:
    """Whether a finding above info is open."""
    return any(not finding.accepted and finding.severity is not Severity.INFO for finding in snapshot.findings)
