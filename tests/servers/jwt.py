"""RFC 7515 and 7518: signed JSON Web Tokens, as much of them as a login at a test server needs."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

P256_OCTETS = 32  # RFC 7518, 3.4: R and S are 32 octets each


def sign_es256(claims: Mapping[str, Any], key: EllipticCurvePrivateKey) -> str:
    """Return the claims as a compact JWS, signed with a P-256 key."""
    signed = f"{_base64url(_json({'alg': 'ES256', 'typ': 'JWT'}))}.{_base64url(_json(claims))}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ECDSA(SHA256())))
    return f"{signed}.{_base64url(r.to_bytes(P256_OCTETS, 'big') + s.to_bytes(P256_OCTETS, 'big'))}"


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64url(data: bytes) -> str:
    """RFC 7515, 2: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
