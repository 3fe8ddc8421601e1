"""Joining a cluster: from a token to a certificate.

The authority's certificate is fetched over a connection that proves nothing, and believed only if its hash is the one
in the token. Everything after that is sent to a server which that authority vouches for, so a false server learns
neither the token nor anything else. Every failure says what is wrong and what to do about it.
"""

from __future__ import annotations

import asyncio
import hmac
import ssl
from dataclasses import dataclass

import aiohttp
import msgspec
import structlog

from mizzen.api.types import meta_v1 as meta
from nodeagent.drive.certificates import signing_request, validity
from nodeagent.drive.credentials import Credentials, ca_hash

PREFIX = "mz1"
CA_PATH = "/mizzen.dev/v1/ca"
JOIN_PATH = "/mizzen.dev/v1/join"
DEADLINE_S = 20.0
ANSWER_MAX_BYTES = 256 * 1024
_LOG = structlog.get_logger(__name__)


class JoinRefused(Exception):
    """The node can't join with this token, and trying again would not help; the message says what to do."""


class JoinUnreachable(Exception):
    """The control plane did not answer properly; trying again may help."""


@dataclass(frozen=True, slots=True)
class Token:
    """A join token's parts; the whole text is what the server wants to see."""

    text: str
    ca_hash: str

    @classmethod
    def parse(cls, text: str) -> Token:
        """Raises JoinRefused for what does not look like a token."""
        text = text.strip()
        parts = text.split(".")
        if len(parts) != 4 or parts[0] != PREFIX or not all(parts):
            raise JoinRefused("--token must look like mz1.<CA hash>.<id>.<secret>; copy it whole from the server")
        return cls(text, parts[1].lower())


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    certificate: str
    ca: str
    grpc_port: int


async def join(server: str, text: str, node: str) -> Credentials:
    """An identity for this node. Raises JoinRefused and JoinUnreachable."""
    token = Token.parse(text)
    host, _, port = server.rpartition(":")
    if not host or not port.isdigit():
        raise JoinRefused(f"--server {server!r} must be the address and port of the control plane, like 10.0.0.1:6443")
    base = f"https://{server}"
    ca = await _authority(base, token)
    fresh = await signing_request(node)
    answer = await _certificate(base, token, ca, node, fresh.request_pem)
    try:
        valid_from_ms, valid_until_ms = await validity(answer.certificate.encode())
    except ValueError as error:
        raise JoinUnreachable(f"{base}{JOIN_PATH} did not answer with a certificate") from error
    _LOG.info("joined", node=node, server=server)
    return Credentials(
        node=node,
        server=server,
        endpoint=f"{host}:{answer.grpc_port}",
        key_pem=fresh.key_pem,
        certificate_pem=answer.certificate.encode(),
        ca_pem=answer.ca.encode(),
        valid_from_ms=valid_from_ms,
        valid_until_ms=valid_until_ms,
    )


async def _authority(base: str, token: Token) -> bytes:
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    status, body = await _call("GET", base + CA_PATH, blind, token="")
    if status != 200:
        raise JoinUnreachable(f"{base}{CA_PATH} answered {status}: is this a Mizzen control plane?")
    try:
        found = ca_hash(body)
    except ValueError as error:
        raise JoinUnreachable(f"{base}{CA_PATH} did not answer with a certificate") from error
    if not hmac.compare_digest(found, token.ca_hash):
        raise JoinRefused(
            f"the certificate authority at {base} is not the one that the token names (hash {found[:12]}..., token "
            f"{token.ca_hash[:12]}...): the token belongs to another cluster, or somebody is in between"
        )
    return body


async def _certificate(base: str, token: Token, ca: bytes, node: str, request: bytes) -> _Answer:
    trusted = ssl.create_default_context(cadata=ca.decode())
    # The authority is this cluster's own and is written without the extensions that strict checks ask for.
    trusted.verify_flags &= ~ssl.VERIFY_X509_STRICT
    body = msgspec.json.encode({"node": node, "csr": request.decode()})
    status, answer = await _call("POST", base + JOIN_PATH, trusted, token=token.text, body=body)
    if status == 200:
        try:
            return msgspec.json.decode(answer, type=_Answer)
        except msgspec.DecodeError as error:
            raise JoinUnreachable(f"{base}{JOIN_PATH} answered something that is not understood: {error}") from error
    message = _message(answer)
    if status in (400, 401, 403, 409):
        raise JoinRefused(message or f"the control plane refused the join with {status}")
    raise JoinUnreachable(f"{base}{JOIN_PATH} answered {status}: {message}")


def _message(answer: bytes) -> str:
    try:
        return msgspec.json.decode(answer, type=meta.Status).message
    except msgspec.DecodeError:
        return answer[:200].decode(errors="replace")


async def _call(
    method: str, url: str, context: ssl.SSLContext, *, token: str, body: bytes | None = None
) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        async with (
            asyncio.timeout(DEADLINE_S),
            aiohttp.ClientSession() as session,
            session.request(method, url, data=body, headers=headers, ssl=context, allow_redirects=False) as response,
        ):
            answer = bytearray()
            async for piece in response.content.iter_any():
                answer += piece
                if len(answer) > ANSWER_MAX_BYTES:
                    raise JoinUnreachable(f"{url} answered more than {ANSWER_MAX_BYTES} bytes")
            return response.status, bytes(answer)
    except aiohttp.ClientConnectorCertificateError as error:
        raise JoinRefused(
            f"the certificate of {url} is not valid for this address: {error.certificate_error}"
        ) from error
    except TimeoutError as error:
        raise JoinUnreachable(f"{url} did not answer within {DEADLINE_S:.0f} s") from error
    except aiohttp.ClientConnectorError as error:
        reason = error.os_error.strerror or error.os_error
        raise JoinUnreachable(f"{url} can not be reached: {reason}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise JoinUnreachable(f"{url} can not be reached: {error}") from error
