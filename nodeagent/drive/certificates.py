"""Keys, signing requests and the dates of certificates, worked out in a process of their own.

Why: the library for certificates takes 14 MB that a process keeps for ever, and an agent needs it when it joins and
then once in months. The process reads its input from standard input and ends.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

import msgspec

from mizzen.engine.values import Instant

NODE_PREFIX = "system:node:"
NODES_GROUP = "system:nodes"
DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A fresh private key and the request to certify it, both in PEM."""

    key_pem: bytes
    request_pem: bytes


async def signing_request(node: str) -> SigningRequest:
    """A request for a certificate of a node of this name. Raises ValueError."""
    return msgspec.json.decode(await _worked_out("request", node.encode()), type=SigningRequest)


async def validity(certificate_pem: bytes) -> tuple[Instant, Instant]:
    """From when until when a certificate is valid. Raises ValueError for what is none."""
    return msgspec.json.decode(await _worked_out("validity", certificate_pem), type=tuple[Instant, Instant])


async def _worked_out(what: str, given: bytes) -> bytes:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, what, stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            answer, said = await process.communicate(given)
    except (TimeoutError, asyncio.CancelledError):
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise ValueError(said.decode(errors="replace").strip().rpartition("\n")[2])
    return answer


def _request(node: str) -> SigningRequest:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, NODES_GROUP),
            x509.NameAttribute(NameOID.COMMON_NAME, NODE_PREFIX + node),
        ]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    key_pem = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return SigningRequest(key_pem, request.public_bytes(pem))


def _validity(certificate_pem: bytes) -> tuple[Instant, Instant]:
    from cryptography import x509

    found = x509.load_pem_x509_certificate(certificate_pem)
    return int(found.not_valid_before_utc.timestamp() * 1000), int(found.not_valid_after_utc.timestamp() * 1000)


def main(what: str, given: bytes) -> bytes:
    """The process: answers in JSON. Raises ValueError."""
    return msgspec.json.encode(_request(given.decode()) if what == "request" else _validity(given))


if __name__ == "__main__":
    sys.stdout.buffer.write(main(sys.argv[1], sys.stdin.buffer.read()))
