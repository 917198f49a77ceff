"""RSA keys that are there at once and protect nothing: for certificates in observations that are made up or changed.

Finding the primes of a key of 4096 bits takes seconds. These primes are written down, and public: k·2ⁿ+1 with a k of
16 bits (Proth numbers, which are proven prime by one power). Never used on a cluster.
"""

from collections.abc import Iterator
from functools import cache
from itertools import combinations

from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicNumbers,
    rsa_crt_dmp1,
    rsa_crt_dmq1,
    rsa_crt_iqmp,
)

EXPONENT = 65537
PRIMES = {
    2048: tuple(k * 2**1008 + 1 for k in (65161, 64471, 62671, 61351, 61195, 60403, 59983, 55693)),
    4096: tuple(k * 2**2032 + 1 for k in (64075, 63865, 63343, 61501, 58783, 57961, 56707, 53461, 50551, 49531)),
}
"""Bits of a key → primes of half as many."""


@cache
def toy_key(owner: str, bits: int) -> RSAPrivateKey:  # noqa: ARG001 - each owner has one of its own
    """The private key of an owner, the same each time within a process; of 2048 or 4096 bits."""
    p, q = next(_pairs(bits))
    d = pow(EXPONENT, -1, (p - 1) * (q - 1))
    public = RSAPublicNumbers(EXPONENT, p * q)
    numbers = RSAPrivateNumbers(p, q, d, rsa_crt_dmp1(d, p), rsa_crt_dmq1(d, q), rsa_crt_iqmp(p, q), public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)  # it would prove the primes again


@cache
def _pairs(bits: int) -> Iterator[tuple[int, int]]:
    return combinations(PRIMES[bits], 2)
