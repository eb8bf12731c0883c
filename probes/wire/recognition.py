"""What the decoder knows by name: cookies, headers and parameters. Plain data, handed in by whoever owns the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lbtop.model.observation import SecretKind
from lbtop.model.record import dataclass, field

Decoded = tuple[bytes, int, int]
"""A target named by a balancer's cookie: 16 address bytes (IPv4 mapped), port, number of the decoder (COOKIE.decoder)."""

_SESSIONS = (
    b"JSESSIONID PHPSESSID connect.sid ASP.NET_SessionId .AspNetCore.Session .AspNetCore.Cookies .ASPXAUTH laravel_session "
    b"sessionid session session_id rack.session SESSION CFID CFTOKEN ci_session frontend sid SID"
)
_PARAMETERS = {
    SecretKind.PASSWORD: b"password passwd pwd pass passphrase user_password login_password current_password new_password "
    b"client_secret j_password",
    SecretKind.API_KEY: b"api_key apikey api-key key x-api-key subscription-key appkey app_key secret_key",
    SecretKind.BEARER_TOKEN: b"access_token token auth_token authtoken id_token refresh_token bearer",
    SecretKind.CARD_NUMBER: b"card card_number cardnumber card-number cc ccnum cc_number ccnumber pan creditcard credit_card "
    b"number",
}


@dataclass(frozen=True, slots=True)
class Recognition:
    """Names are bytes; cookie names are compared as sent, header and parameter names in lower case."""

    session_cookies: frozenset[bytes] = frozenset(_SESSIONS.split())
    session_prefixes: tuple[bytes, ...] = (b"wordpress_logged_in_", b"SSESS", b"SESS")
    session_suffixes: tuple[bytes, ...] = (b"_session", b"_sessionid", b"-session", b".sid")
    likely_session_parts: tuple[bytes, ...] = (b"sess", b"auth", b"token", b"login", b"sid", b"jwt", b"remember")
    """Lower-case parts of a name under which a value of high entropy is taken for a session."""
    never_session: tuple[bytes, ...] = (b"csrf", b"xsrf", b"consent", b"nonce", b"requestverification", b"antiforgery", b"last_")
    """Lower-case parts of a name that rule a session out, whatever the value."""
    foreign_prefixes: tuple[bytes, ...] = (
        b"_ga_", b"_hj", b"_uet", b"_pin_unauth", b"__stripe_", b"ab.storage.", b"_parsely", b"ai_session", b"_pk_ses",
        b"_sp_ses", b"_vwo_", b"amplitude_",
    )  # fmt: skip
    """Lower-case beginnings of cookies that analytics and payment scripts set: their sessions are not the application's."""
    balancer_cookies: frozenset[bytes] = frozenset(
        b"AWSALB AWSALBCORS AWSALBTG AWSALBTGCORS AWSALBAPP-0 AWSALBAPP-1 AWSALBAPP-2 AWSALBAPP-3 AWSELB AWSELBCORS SERVERID SRV "
        b"INGRESSCOOKIE ROUTEID route ARRAffinity ARRAffinitySameSite ApplicationGatewayAffinity ApplicationGatewayAffinityCORS "
        b"ASLBSA ASLBSACORS GCLB GCILB __cflb DO-LB SERVERCORSID".split()
    )
    balancer_prefixes: tuple[bytes, ...] = (b"BIGipServer", b"NSC_", b"AKALB_", b"akaalb_", b"nlbi_", b"sto-id-")
    api_key_headers: frozenset[bytes] = frozenset(
        b"x-api-key api-key apikey x-apikey x-auth-token x-access-token ocp-apim-subscription-key x-vault-token "
        b"private-token x-gitlab-token".split()
    )
    tls_headers: Mapping[bytes, bytes] = field(
        default_factory=lambda: {
            b"x-amzn-tls-version": b"",
            b"x-amzn-tls-cipher-suite": b"",
            b"x-amzn-mtls-clientcert": b"",
            b"x-arr-ssl": b"",
            b"cf-visitor": b"https",
            b"front-end-https": b"on",
            b"fastly-ssl": b"",
            b"x-forwarded-ssl": b"on",
            b"x-forwarded-tls-client-cert": b"",
            b"x-forwarded-client-cert": b"",
            b"cloudfront-forwarded-proto": b"https",
            b"x-client-verify": b"",
            b"x-ssl-cipher": b"",
            b"x-ssl-protocol": b"",
        }
    )
    """Headers that only a hop which ends TLS adds, with what their value must contain in lower case (b"": anything)."""
    parameters: Mapping[bytes, SecretKind] = field(
        default_factory=lambda: {name: kind for kind, names in _PARAMETERS.items() for name in names.split()}
    )
    """Names of query, form and JSON members whose value is a secret."""
    login_paths: tuple[bytes, ...] = (
        b"login",
        b"log-in",
        b"signin",
        b"sign-in",
        b"logon",
        b"sso",
        b"oauth",
        b"authorize",
        b"auth",
    )
    """A redirect whose path has a segment that starts so is a redirect to a login."""
    decode: Callable[[bytes, bytes], Decoded | None] | None = None
    """Cookie name and value to the target they name; asked only for balancer cookies, once per distinct value."""
    digests: Callable[[bytes, int], Mapping[bytes, int]] | None = None
    """Address and port of a target to the cookie values that are digests of it, each with the number of its decoder."""
