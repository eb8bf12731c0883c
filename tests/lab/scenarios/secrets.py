"""What crosses a readable hop, and what only looks like it."""

from __future__ import annotations

import time

from tests.lab import balancer
from tests.lab.client import PAGES, Browsing, browse, together, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, OFFLOAD, PLAIN
from tests.lab.target import Application


@scenario(
    "secrets-offload",
    "HAProxy as an ALB: passwords, Basic, bearer tokens, API keys and card numbers behind it in clear",
    [
        Output(
            "offload-secrets-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=(*OFFLOAD, "credentials-in-plaintext", "card-data-in-plaintext"),
            kinds=("session_cookie", "password", "basic_auth", "bearer_token", "api_key", "card_number"),
            shows="a login form, Basic and bearer authorization, an X-Api-Key header and a payment form, all readable",
        ),
    ],
    networks=5,
    per_network=4,
)
def secrets_offload(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.front(balancer.alb, targets)
    people = users(run.net, 20, kinds=("requests", "okhttp", "go"))
    _with_secrets(run, people, **HTTPS)


@scenario(
    "secrets-plain",
    "HAProxy as an ALB with an HTTP listener: the same secrets readable on both hops",
    [
        Output(
            "plain-secrets-targets.pcap.gz",
            "all_targets",
            "none",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=(*PLAIN, "credentials-in-plaintext", "card-data-in-plaintext"),
            kinds=("session_cookie", "password", "basic_auth", "bearer_token", "api_key", "card_number"),
            shows="as in offload-secrets-targets, with X-Forwarded-Proto http",
        ),
        Output(
            "plain-secrets-balancer.pcapng.gz",
            "load_balancer",
            "none",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=(*PLAIN, "credentials-in-plaintext", "card-data-in-plaintext"),
            kinds=("session_cookie", "password", "basic_auth", "bearer_token", "api_key", "card_number"),
            shows="the same requests on both sides of the balancer",
        ),
    ],
    networks=5,
    per_network=4,
)
def secrets_plain(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", attributes="Path=/; HttpOnly"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=None))
    _with_secrets(run, users(run.net, 20, kinds=("requests", "okhttp", "go")))


@scenario(
    "numbers-not-cards",
    "HAProxy as an ALB, HTTPS to plain HTTP: order numbers and timestamps that look like cards, no credentials",
    [
        Output(
            "offload-harmless-numbers-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=OFFLOAD,
            kinds=("session_cookie",),
            shows="sixteen-digit order numbers, some of which pass Luhn, without a card's context",
        ),
    ],
    networks=5,
    per_network=4,
)
def numbers_not_cards(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.front(balancer.alb, targets)
    steps = [
        ("GET", "/orders/4000123412341234", None),
        ("GET", "/api/items?since=1795167539583", None),
        ("POST", "/orders", b"order=9000000000000008&quantity=2"),
        ("GET", "/orders?tracking=1234567890123452", None),
    ]
    browse(users(run.net, 20, kinds=MIXED), steps, repeat=2, **HTTPS)


def _with_secrets(run: Run, people: list, **where: object) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    passwords = ("correct-horse-battery", "Tr0ub4dor-and-3", "hunter2hunter2", "s3same-0pen-now")
    cards = ("4111111111111111", "5555555555554444", "378282246310005")
    import base64

    basic = base64.b64encode(b"reporting:9vB-basic-pass-71").decode()
    bearer, key = "mF_9.B5f-4.1JqM-bearer-7c1d9e", "sk_live_51HvLbtopMadeUpKey0001"
    run.secrets |= {*passwords, *cards, basic, "9vB-basic-pass-71", bearer, key}
    for user in people:
        user.headers = {**form}

    def steps(index: int) -> list[tuple[str, str, bytes | None]]:
        return [
            ("GET", "/login", None),
            ("POST", "/login", f"user=u{index}&password={passwords[index % 4]}".encode()),
            ("GET", "/account", None),
            ("POST", "/checkout", f"name=A+Person&card_number={cards[index % 3]}&expiry=12%2F29&cvv=123".encode()),
        ]

    people[0].headers |= {"Authorization": f"Basic {basic}"}
    people[1].headers |= {"Authorization": f"Bearer {bearer}"}
    people[2].headers |= {"X-Api-Key": key}

    def walk(index: int) -> None:
        user = people[index]
        time.sleep(user.random.random())
        browsing = Browsing(user, **{"scheme": "http", "port": 80, "fresh": False, **where})  # type: ignore[arg-type]
        for step in [*steps(index), PAGES[0]]:
            browsing.do(step)
            time.sleep(user.random.expovariate(6))
        browsing.close()

    together([(user.ns, lambda index=index: walk(index)) for index, user in enumerate(people)])
