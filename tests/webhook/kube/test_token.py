"""Tokens that are verified here: each is a good token with one change."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.identity import TokenIdentity
from tests.support import live_objects
from tests.support.factory import changed
from tests.support.pod_tokens import (
    AUDIENCE,
    ISSUER,
    TokenSigner,
    claims_of,
    encoded,
    key_set,
    part,
)
from webhook.kube.token import InvalidTokenError, Issuer, UndecidedTokenError, keys_in

NOW = live_objects.NOW.timestamp()
SIGNERS = {name: TokenSigner(name) for name in ("RS256", "ES256", "ES384")}
SIGNER, OTHER = SIGNERS["ES256"], TokenSigner("ES256")
POD = live_objects.pod()
ISSUED_BY = Issuer(ISSUER, keys_in(key_set(*SIGNERS.values())))


def caller(token: str, now: float = NOW, issuer: Issuer = ISSUED_BY) -> TokenIdentity:
    return issuer.caller(token, AUDIENCE, datetime.fromtimestamp(now, UTC))


def outcome(token: str, now: float = NOW) -> type[Exception] | None:
    """The exception that a token causes; None if it is valid."""
    try:
        caller(token, now)
    except (InvalidTokenError, UndecidedTokenError) as error:
        return type(error)
    return None


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_a_token_says_which_pod_it_is_bound_to(algorithm: str) -> None:
    token = SIGNERS[algorithm].token(POD, NOW)
    assert caller(token) == live_objects.caller(POD)
    other = live_objects.pod("another", uid="another-uid")
    assert caller(SIGNERS[algorithm].token(other, NOW)) == live_objects.caller(other)


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_every_changed_part_breaks_the_signature(algorithm: str) -> None:
    signer = SIGNERS[algorithm]
    header, claims, signature = signer.token(POD, NOW).split(".")
    forged = part(claims_of(live_objects.pod("victim", uid="victim"), NOW))
    assert outcome(f"{header}.{forged}.{signature}") is InvalidTokenError
    more = part({**signer.header, "typ": "JWT"})
    assert outcome(f"{more}.{claims}.{signature}") is InvalidTokenError
    broken = bytearray(base64.urlsafe_b64decode(signature + "=="))
    for position in (0, len(broken) // 2, len(broken) - 1):
        spoiled = bytearray(broken)
        spoiled[position] ^= 1
        assert outcome(f"{header}.{claims}.{encoded(bytes(spoiled))}") is InvalidTokenError
    for other in (b"", b"\0", bytes(len(broken)), bytes(broken[:-1]), bytes(broken) + b"\0"):
        assert outcome(f"{header}.{claims}.{encoded(other)}") is InvalidTokenError


def test_the_key_chooses_the_algorithm_and_not_the_token() -> None:
    for name, signer in SIGNERS.items():
        claims = part(claims_of(POD, NOW))
        for algorithm in ("none", "None", "", "HS256", "RS256", "PS256", "ES256", "ES384", None):
            token = signer.sign(part({"alg": algorithm, "kid": signer.key_id}), claims)
            expected = None if algorithm == name else InvalidTokenError
            assert outcome(token) is expected, (name, algorithm)
        unsigned = f"{part({'alg': 'none', 'kid': signer.key_id})}.{claims}."
        assert outcome(unsigned) is InvalidTokenError


def test_a_public_key_is_no_secret_for_hs256() -> None:
    for signer in SIGNERS.values():
        header = part({"alg": "HS256", "kid": signer.key_id})
        content = f"{header}.{part(claims_of(POD, NOW))}"
        public = signer.key.public_key()
        for secret in (
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            json.dumps(signer.jwk).encode(),
        ):
            signature = encoded(hmac.digest(secret, content.encode(), hashlib.sha256))
            assert outcome(f"{content}.{signature}") is InvalidTokenError


def test_a_key_in_the_token_is_not_used() -> None:
    claims = part(claims_of(POD, NOW))
    for more in ({"jwk": OTHER.jwk}, {"jku": "https://attacker.example/"}, {"x5c": ["AAAA"]}):
        header = part({"alg": "ES256", "kid": SIGNER.key_id, **more})
        assert outcome(OTHER.sign(header, claims)) is InvalidTokenError
        unknown = part({"alg": "ES256", "kid": OTHER.key_id, **more})
        assert outcome(OTHER.sign(unknown, claims)) is UndecidedTokenError


def test_another_key_under_the_same_id_verifies_nothing() -> None:
    claims = part(claims_of(POD, NOW))
    impostor = OTHER.sign(part({"alg": "ES256", "kid": SIGNER.key_id}), claims)
    assert outcome(impostor) is InvalidTokenError
    both = keys_in({"keys": [SIGNER.jwk, {**OTHER.jwk, "kid": SIGNER.key_id}]})
    assert both == {}, "which of the two is meant is a question for the API server"


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], None, "b64"])
def test_extensions_that_must_be_understood_are_refused(crit: Any) -> None:
    header = part({**SIGNER.header, "crit": crit, "b64": False})
    assert outcome(SIGNER.sign(header, part(claims_of(POD, NOW)))) is InvalidTokenError


def test_json_with_duplicate_keys_has_one_meaning() -> None:
    claims = part(claims_of(POD, NOW))
    header = f'{{"alg":"none","kid":"{SIGNER.key_id}","alg":"ES256"}}'
    assert outcome(SIGNER.sign(encoded(header.encode()), claims)) is None
    reverse = f'{{"alg":"ES256","kid":"{SIGNER.key_id}","alg":"none"}}'
    assert outcome(SIGNER.sign(encoded(reverse.encode()), claims)) is InvalidTokenError


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["https://kubernetes.default.svc"]},
        {"aud": []},
        {"aud": None},
        {"aud": "raywarden.io.attacker.example"},
        {"aud": [["raywarden.io"]]},
        {"aud": {"raywarden.io": 1}},
        {"exp": NOW - 61},
        {"exp": -1},
        {"exp": -1e300},
    ],
)
def test_tokens_for_others_and_expired_ones_are_refused_here(claims: Any) -> None:
    assert outcome(SIGNER.token(POD, NOW, **claims)) is InvalidTokenError


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://another.example"},
        {"iss": ISSUER + "/"},
        {"iss": [ISSUER]},
        {"nbf": NOW + 61},
        {"nbf": None},
        {"exp": None},
        {"exp": str(NOW + 600)},
        {"exp": True},
        {"exp": NOW + 3601},
        {"exp": 1e300},
        {"iat": None},
        {"iat": NOW - 3600},
        {"sub": "system:serviceaccount:team-a:another"},
        {"sub": None},
        {"kubernetes.io": None},
        {"kubernetes.io": []},
        {"kubernetes.io": {"namespace": "team-a"}},
    ],
)
def test_what_kubernetes_would_not_write_is_a_question_for_the_api_server(claims: Any) -> None:
    assert outcome(SIGNER.token(POD, NOW, **claims)) is UndecidedTokenError


@pytest.mark.parametrize(
    "place", ["namespace", "pod", "pod/name", "pod/uid", "serviceaccount", "serviceaccount/uid"]
)
@pytest.mark.parametrize("value", [None, "", 7, [], {}])
def test_a_token_must_name_a_pod_and_its_account(place: str, value: Any) -> None:
    claims = changed(claims_of(POD, NOW), {f"/kubernetes.io/{place}": value})
    token = SIGNER.sign(part(SIGNER.header), part(claims))
    assert outcome(token) is UndecidedTokenError


def test_clocks_may_differ_by_a_minute() -> None:
    token = SIGNER.token(POD, NOW)
    for now, expected in (
        (NOW - 59, None),
        (NOW - 61, UndecidedTokenError),
        (NOW + 659, None),
        (NOW + 661, InvalidTokenError),
    ):
        assert outcome(token, now) is expected, now - NOW


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "opaque",
        "a.b.c",
        "e30.e30.e30.e30",
        "e30=.e30.e30",
        " e30.e30.AA",
        "e30.e30.AA\n",
        "é.e30.AA",
        "A.A.A",
        f"{encoded(b'[' * 3000)}.e30.AA",
        f"{encoded(b'{' * 3000)}.e30.AA",
        "x" * 1_000_000,
        f"{encoded(b' ' * 400_000)}.{encoded(b' ' * 400_000)}.AA",
    ],
)
def test_what_is_not_a_token_is_refused_at_once(token: str) -> None:
    assert outcome(token) in (InvalidTokenError, UndecidedTokenError)
    if len(token) > 16_384 or token.count(".") != 2:
        assert outcome(token) is InvalidTokenError


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=80))
def test_any_three_parts_have_an_outcome(header: bytes, claims: bytes, signature: bytes) -> None:
    token = ".".join(map(encoded, (header, claims, signature)))
    assert outcome(token) in (InvalidTokenError, UndecidedTokenError)


@settings(deadline=None, max_examples=100)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner),
    )
)
def test_any_signed_claims_have_an_outcome(claims: Any) -> None:
    token = SIGNER.sign(part(SIGNER.header), part(claims))
    assert outcome(token) in (InvalidTokenError, UndecidedTokenError)
    for name in claims_of(POD, NOW):
        assert outcome(SIGNER.token(POD, NOW, **{name: claims})) in (
            None, InvalidTokenError, UndecidedTokenError,
        )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "oct", "k": "AAAA"},
        {"kty": None},
        {"use": "enc"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"crv": "P-521"},
        {"crv": "secp256k1"},
        {"x": "AAAA"},
        {"x": ""},
        {"x": "A" * 1_000_000},
        {"x": None},
        {"y": [1]},
        {"kid": ""},
        {"kid": 7},
    ],
)
def test_unusable_keys_are_left_out(change: Any) -> None:
    assert keys_in({"keys": [{**SIGNER.jwk, **change}, SIGNERS["RS256"].jwk]}).keys() == {
        SIGNERS["RS256"].key_id
    }


@pytest.mark.parametrize(
    "change", [{"e": "AQ"}, {"e": "Aw"}, {"n": "AQAB"}, {"n": "_" * 1300 + "w"}, {"n": "!"}]
)
def test_weak_and_giant_rsa_keys_are_left_out(change: Any) -> None:
    assert not keys_in({"keys": [{**SIGNERS["RS256"].jwk, **change}]})


@pytest.mark.parametrize(
    "document", [{}, {"keys": None}, {"keys": {}}, {"keys": [None, "x", [], {}]}, {"keys": 7}]
)
def test_a_key_set_without_keys_has_none(document: Any) -> None:
    assert not keys_in(document)


def test_a_key_set_is_bounded() -> None:
    many = [{**SIGNER.jwk, "kid": str(number)} for number in range(1000)]
    assert len(keys_in({"keys": many})) == 32
