"""Whose name a request carries that does not say it."""

from __future__ import annotations

import getpass
from pathlib import Path

import jwt
import pytest
from pydantic import SecretStr

from qsaga.caller import caller_name
from qsaga.core.errors import InvalidRequest
from qsaga.settings import IdentitySettings, Settings

TOKEN = jwt.encode({"sub": "ada@lab"}, "0" * 32, algorithm="HS256")


def with_token(token: str) -> Settings:
    return Settings(identity=IdentitySettings(token=SecretStr(token)))


def test_token_then_settings_then_account(tmp_path: Path) -> None:
    identity = IdentitySettings(token=SecretStr(TOKEN))
    assert caller_name(Settings(user="bob", identity=identity)) == "ada@lab"
    assert caller_name(Settings(user="bob")) == "bob"
    assert caller_name(Settings(identity=identity)) == "ada@lab"
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    assert caller_name(Settings(identity=IdentitySettings(token_file=file))) == "ada@lab"
    assert caller_name(Settings()) == getpass.getuser()


@pytest.mark.parametrize(
    "token",
    [
        "",
        "opaque",
        "a.b.c",
        "a.äö.c",
        "a." + "W10" + ".c",
        jwt.encode({"aud": "x"}, "0" * 32),
        jwt.encode({"sub": "/x"}, "0" * 32),
    ],
)
def test_a_token_that_names_nobody(token: str) -> None:
    """The account is not named in its place: the worker would refuse the name."""
    assert caller_name(with_token(token)) is None


def test_a_token_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert caller_name(Settings(identity=IdentitySettings(token_file=tmp_path / "no"))) is None


def test_an_account_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 999_999)
    assert caller_name(Settings()) is None


def test_a_name_that_is_none() -> None:
    with pytest.raises(InvalidRequest, match=r"settings\.user: 'a\\nb' does not fit"):
        caller_name(Settings(user="a\nb"))
