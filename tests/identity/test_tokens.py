"""The verifier: real keys and real tokens, good ones and every kind of bad one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from adapters.identity import JwtVerifier, seal_keys, verifier
from qsaga.core.errors import InvalidRequest, Unauthenticated
from qsaga.core.identity import Caller, Role
from qsaga.settings import IdentitySettings
from tools.identity import SigningKey, issue, jwk, jwks, main, make_keys, new_key, pem

KEY = new_key()
OTHER = new_key()
GOOD: dict[str, Any] = {"sub": "alice", "tenants": ["acme"], "roles": ["submitter", "approver"]}
ALICE = Caller(subject="alice", tenants=("acme",), roles=(Role.SUBMITTER, Role.APPROVER))


def now() -> int:
    return int(time.time())


def public_pem(key: Any) -> bytes:
    written: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return written


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(jwks(KEY)))
    return path


@pytest.fixture
def settings(keys_file: Path) -> IdentitySettings:
    return IdentitySettings(keys_file=keys_file, issuer="https://issuer.test")


@pytest.fixture
def checks(settings: IdentitySettings) -> JwtVerifier:
    return JwtVerifier(settings)


def token(key: SigningKey = KEY, **claims: Any) -> str:
    return issue(key, **(GOOD | {"iss": "https://issuer.test"} | claims))


def refusal(checks: JwtVerifier, given: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        checks.verify(given)
    said = str(refused.value)
    for part in given.split("."):
        assert len(part) < 8 or part not in said, "the error shows a part of the token"
    return said


def test_a_good_token_names_its_caller(checks: JwtVerifier) -> None:
    assert checks.verify(token()) == ALICE
    assert checks.verify(token(aud=["other", "qsaga"])) == ALICE
    every = checks.verify(token(tenants="*", roles=["operator", "somebody else's role"]))
    assert every.tenants == ("*",) and every.roles == (Role.OPERATOR,)


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iat": now() - 600, "exp": now() - 60}, "token: expired at 20"),
        ({"nbf": now() + 7200}, "token.nbf: in the future: 20"),
        ({"iat": now() + 7200}, "token.iat: in the future: 20"),
        ({"aud": "another"}, "token.aud: for somebody else (allowed: 'qsaga')"),
        ({"aud": None}, "token.aud: missing"),
        ({"iss": "https://elsewhere.test"}, "token.iss: another issuer"),
        ({"iss": None}, "token.iss: missing"),
        ({"sub": None}, "token.sub: missing"),
        ({"exp": None}, "token.exp: missing"),
        ({"iat": None}, "token.iat: missing"),
        ({"exp": now() + 25 * 3600}, "token.exp: more than 24 h after token.iat"),
        ({"sub": "a\nforged line of a log"}, "token.sub: "),
        ({"sub": ""}, "token.sub: "),
        ({"tenants": "acme"}, "token.tenants: "),
        ({"tenants": ["ACME"]}, "token.tenants: "),
        ({"tenants": {"acme": 1}}, "token.tenants: "),
        ({"roles": "submitter"}, "token.roles: "),
        ({"roles": [1]}, "token.roles: "),
    ],
)
def test_bad_claims_are_named(checks: JwtVerifier, claims: dict[str, Any], said: str) -> None:
    assert said in refusal(checks, token(**claims))


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e300, "soon", None, [], {}])
def test_a_time_that_is_none_is_refused(checks: JwtVerifier, claim: str, value: Any) -> None:
    claims = GOOD | {"aud": "qsaga", "iss": "https://issuer.test", "iat": now(), "exp": now() + 60}
    signed = jwt.encode(claims | {claim: value}, KEY, "EdDSA", {"kid": jwk(KEY)["kid"]})
    assert "token" in refusal(checks, signed)


def test_clocks_may_differ_by_the_leeway_both_ways(checks: JwtVerifier) -> None:
    at = now()
    assert checks.verify(token(iat=at - 60, exp=at - 20)) == ALICE
    assert checks.verify(token(iat=at + 20, nbf=at + 20)) == ALICE
    assert "expired" in refusal(checks, token(iat=at - 60, exp=at - 31))
    assert "future" in refusal(checks, token(iat=at + 40))


def test_a_token_of_another_key_is_refused(checks: JwtVerifier) -> None:
    assert "a key that is not known" in refusal(checks, token(OTHER))
    # The same, under the name of the good key.
    claims = jwt.decode(token(), options={"verify_signature": False})
    pretended = jwt.encode(claims, OTHER, "EdDSA", {"kid": jwk(KEY)["kid"]})
    assert "damaged, or signed by a key" in refusal(checks, pretended)


def test_a_token_without_the_name_of_its_key_is_tried_with_all(checks: JwtVerifier) -> None:
    claims = jwt.decode(token(), options={"verify_signature": False})
    assert checks.verify(jwt.encode(claims, KEY, "EdDSA")) == ALICE


def test_no_signature_is_no_token(checks: JwtVerifier) -> None:
    claims = jwt.decode(token(), options={"verify_signature": False})
    assert "token.alg: not allowed" in refusal(checks, jwt.encode(claims, None, "none"))
    head, body, _ = token().split(".")
    assert "token" in refusal(checks, f"{head}.{body}.")
    assert "token" in refusal(checks, f"{head}.{body}")


@pytest.mark.parametrize("form", ["pem", "raw", "jwk"])
def test_the_public_key_is_no_secret_to_sign_with(tmp_path: Path, form: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(KEY))
    raw = KEY.public_key().public_bytes_raw()  # type: ignore[union-attr]
    secret = {"pem": path.read_bytes(), "raw": raw, "jwk": json.dumps(jwk(KEY)).encode()}[form]

    def part(said: dict[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=")

    claims = GOOD | {"aud": "qsaga", "iat": now(), "exp": now() + 60}
    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims)
    mac = hmac.new(secret, signed, hashlib.sha256).digest()
    forged = (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()
    checks = JwtVerifier(IdentitySettings(keys_file=path))
    assert "token.alg: not allowed (allowed: ES256, EdDSA, RS256)" in refusal(checks, forged)


@pytest.mark.parametrize(
    "given",
    ["", ".", "..", "a.b.c", "x" * 9000, "\ud800", "e30.e30.e30", "[" * 5000 + ".e30.", "nonsense"],
)
def test_what_is_no_token_is_refused(checks: JwtVerifier, given: str) -> None:
    with pytest.raises(Unauthenticated, match=r"^token"):
        checks.verify(given)


def test_every_damaged_character_is_noticed(checks: JwtVerifier) -> None:
    good = token()
    for place in range(0, len(good) - 2, 7):
        other = "A" if good[place] != "A" else "B"
        with pytest.raises(Unauthenticated):
            checks.verify(good[:place] + other + good[place + 1 :])


def test_keys_come_as_pem_certificate_or_several_of_them(tmp_path: Path) -> None:
    elliptic, large = new_key("es256"), rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    at = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, large.public_key(), 1, at, at + timedelta(days=1))
        .sign(large, SHA256())
        .public_bytes(Encoding.PEM)
    )
    path = tmp_path / "keys.pem"
    path.write_bytes(public_pem(KEY) + b"# a remark\n" + public_pem(elliptic) + certificate)
    checks = JwtVerifier(IdentitySettings(keys_file=path))
    assert checks.verify(token()).subject == "alice"
    assert checks.verify(token(elliptic)).subject == "alice"
    claims = jwt.decode(token(), options={"verify_signature": False})
    assert checks.verify(jwt.encode(claims, large, "RS256")).subject == "alice"
    # The header cannot choose another algorithm for a key.
    assert "token.alg" in refusal(checks, jwt.encode(claims, large, "RS512"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Expecting value"),
        (b"{}", "'keys' is missing"),
        (b'{"keys": []}', "no key that can be used"),
        (pem(KEY), "a private key"),
        (json.dumps({"keys": [jwk(KEY) | {"d": "AAAA"}]}).encode(), "keys[0]: a private key"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "keys[0]: not a kind of key"),
        (json.dumps({"keys": [jwk(KEY) | {"x": "!"}]}).encode(), "keys[0]: not a key"),
        (json.dumps({"keys": [jwk(KEY) | {"use": "enc"}]}).encode(), "not a key for signatures"),
        (public_pem(rsa.generate_private_key(65537, 1024)), "RSA of 2048 bits or more"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA", "no complete PEM block"),
    ],
)
def test_a_file_without_good_keys_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest) as refused:
        JwtVerifier(IdentitySettings(keys_file=path))
    assert refused.value.field == "identity.keys_file"
    assert said in str(refused.value)
    assert "AAAA" not in str(refused.value) and "c2VjcmV0" not in str(refused.value)


def test_keys_rotate_without_a_restart(checks: JwtVerifier, keys_file: Path) -> None:
    old, new = token(), token(OTHER)
    refusal(checks, new)
    keys_file.write_text(json.dumps(jwks(KEY, OTHER)))
    assert checks.verify(new) == checks.verify(old) == ALICE
    keys_file.write_text('{"keys": [{"kty": "OK')  # half written: the keys stay
    assert checks.verify(new) == checks.verify(old) == ALICE
    keys_file.unlink()
    assert checks.verify(new) == ALICE
    keys_file.write_text(json.dumps(jwks(OTHER)))
    assert checks.verify(new) == ALICE
    refusal(checks, old)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"required": True}, "identity.required"),
        ({"keys_file": "KEYS"}, "identity.worker_key"),
        ({"keys_file": "KEYS", "jwks_url": "https://a.test", "worker_key": "k" * 32}, "keys_file"),
        ({"jwks_url": "file:///etc/passwd", "worker_key": "k" * 32}, "identity.jwks_url"),
        ({"keys_file": "/nowhere/keys", "worker_key": "k" * 32}, "identity.keys_file"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    keys_file: Path, given: dict[str, Any], field: str
) -> None:
    named = {name: keys_file if value == "KEYS" else value for name, value in given.items()}
    with pytest.raises(InvalidRequest, match=field):
        verifier(IdentitySettings.model_validate(named))


def test_without_keys_nothing_is_checked(keys_file: Path) -> None:
    assert verifier(IdentitySettings()) is None
    assert verifier(IdentitySettings(keys_file=keys_file, worker_key=SecretStr("k" * 32)))


def test_the_first_secret_seals_and_all_of_them_open() -> None:
    def keys(text: str) -> Any:
        return seal_keys(IdentitySettings(worker_key=SecretStr(text)))

    old, new, about = "o" * 32, "n" * 32, ("signal", "a", "b")
    mac = keys(old).seal(about)
    assert keys(f"{new}, {old}").holds(mac, about)
    assert keys(f"{new},{old}").seal(about) == keys(new).seal(about)
    assert not keys(new).holds(mac, about)
    assert not keys(old).holds(mac, ("signal", "ab", ""))
    assert not keys(old).holds("", about) and not keys(old).holds("\ud800", about)
    with pytest.raises(InvalidRequest, match=r"secret 2 of 2 has 0 characters"):
        keys(f"{new},")
    assert seal_keys(IdentitySettings()) is None


def test_the_workers_secret_may_be_in_a_file(tmp_path: Path, keys_file: Path) -> None:
    file, about = tmp_path / "worker.key", ("signal", "a", "b")
    settings = IdentitySettings(keys_file=keys_file, worker_key_file=file)
    assert verifier(settings) is not None

    def refused(settings: IdentitySettings) -> str:
        with pytest.raises(InvalidRequest) as refused:
            seal_keys(settings)
        assert refused.value.field == "identity.worker_key_file"
        return str(refused.value)

    assert "worker.key: No such file" in refused(settings)
    for content, why in {b"short\n": "has 5 characters", b"\xff" * 40: "it is not text"}.items():
        file.write_bytes(content)
        assert f"{file}: " in (said := refused(settings)) and why in said
    file.write_text("n" * 40 + "," + "o" * 40 + "\n")
    there, old = seal_keys(settings), seal_keys(IdentitySettings(worker_key=SecretStr("o" * 40)))
    assert there is not None and old is not None
    assert there.holds(old.seal(about), about) and not old.holds(there.seal(about), about)
    both = settings.model_copy(update={"worker_key": SecretStr("n" * 40)})
    assert "given beside identity.worker_key (allowed: one of them)" in refused(both)


@pytest.mark.parametrize("kind", ["ed25519", "es256"])
def test_the_small_issuer_rotates_its_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    def said(*words: str) -> str:
        assert main(words) == 0
        return capsys.readouterr().out.strip()

    folder, key = tmp_path / "keys", tmp_path / "keys" / "private.pem"
    give = ("token", "--key", str(key), "--sub", "alice", "--tenants", "acme", "--roles", "auditor")
    said("keys", str(folder), "--kind", kind)
    assert key.stat().st_mode & 0o077 == 0
    first = said(*give)
    assert "already" in said("keys", str(folder))
    said("keys", str(folder), "--kind", kind, "--rotate")
    second = said(*give, "--minutes", "5")
    checks = JwtVerifier(IdentitySettings(keys_file=folder / "jwks.json"))
    for given in (first, second):
        assert checks.verify(given).roles == (Role.AUDITOR,)
    assert jwt.get_unverified_header(first)["kid"] != jwt.get_unverified_header(second)["kid"]
    assert key.stat().st_mode & 0o077 == 0
    assert main(["token", "--key", str(key), "--sub", "a", "--roles", "king"]) == 2
    assert "king (allowed: submitter" in capsys.readouterr().err
    (folder / "jwks.json").write_text("[]")
    assert main(["keys", str(folder)]) == 2
    assert "jwks.json: no JWKS document" in capsys.readouterr().err


def test_keys_made_at_once_fit_together(tmp_path: Path) -> None:
    private, public, secret = (
        tmp_path / "signing",
        tmp_path / "k" / "jwks.json",
        tmp_path / "k" / "s",
    )

    def make(_: int) -> None:
        make_keys(private, "ed25519", public=public, worker_key=secret)

    def checked() -> Caller:
        key = load_pem_private_key((private / "private.pem").read_bytes(), password=None)
        settings = IdentitySettings(keys_file=public, worker_key_file=secret)
        assert seal_keys(settings) is not None
        return JwtVerifier(settings).verify(issue(key, **GOOD))

    with ThreadPoolExecutor(8) as at_once:
        list(at_once.map(make, range(8)))
    made = public.read_bytes()
    assert checked() == ALICE and len(json.loads(made)["keys"]) == 1
    # Whatever is lost is made again, and the key that tokens were signed with stays.
    public.unlink()
    secret.unlink()
    make(0)
    assert checked() == ALICE and public.read_bytes() == made
    (private / "private.pem").unlink()
    make(0)
    assert checked() == ALICE and len(json.loads(public.read_text())["keys"]) == 2
