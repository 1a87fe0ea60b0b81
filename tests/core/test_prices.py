"""Price lists: what a good one changes, and what is said of a bad one."""

from decimal import Decimal
from pathlib import Path

import pytest

from qsaga.core.errors import InvalidRequest
from qsaga.core.policy import Price
from qsaga.policies import load_policy, load_prices, with_prices

EXAMPLE = Path(__file__).parents[2] / "deploy" / "prices.toml"


def test_the_example_file_takes_the_place_of_the_policys_prices() -> None:
    prices, policy = load_prices(EXAMPLE), load_policy()
    priced = with_prices(policy, prices)
    assert prices.version == "2026-11-1"
    assert priced.hardware.price("ibm_torino") == Price(per_quantum_second=Decimal("1.28"))
    assert priced.hardware.price("another").per_quantum_second == Decimal("1.60")
    same = {"hardware": policy.hardware}
    assert priced.model_copy(update=same) == policy
    assert priced.hardware.model_copy(update={"prices": policy.hardware.prices}) == policy.hardware


def test_a_list_without_default_leaves_none_of_the_policys_prices(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('version = "1"\n[backends.a]\nper_quantum_second = "2"\ncurrency = "EUR"\n')
    terms = with_prices(load_policy(), load_prices(file)).hardware
    assert terms.price("a") == Price(per_quantum_second=Decimal(2), currency="EUR")
    assert terms.price("b").per_quantum_second == 0


@pytest.mark.parametrize(
    ("text", "where", "allowed"),
    [
        ('[backends.a]\nper_quantum_second = "-1"', "backends.a.per_quantum_second", "at least 0"),
        ('[backends.a]\nper_quantum_second = "nan"', "backends.a.per_quantum_second", "finite"),
        ("[backends.a]\nper_second = 1", "backends.a.per_quantum_second: the field is missing", ""),
        (
            "[backends.a]\nper_quantum_second = 1\ncurency = 'USD'",
            "backends.a.curency: there is no such field",
            "",
        ),
        (
            "[backends.a]\nper_quantum_second = 1\ncurrency = 'euro'",
            "backends.a.currency: 'euro' does not fit",
            "^[A-Z]{3}$",
        ),
        ("prices = 1", "backends: the field is missing", ""),
        ("[backends", "line 2", ""),
    ],
)
def test_a_bad_list_is_refused_by_file_and_field(
    tmp_path: Path, text: str, where: str, allowed: str
) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(f'version = "1"\n{text}\n')
    with pytest.raises(InvalidRequest) as refused:
        load_prices(file)
    assert refused.value.field == "prices_file"
    assert f"{file}: " in refused.value.problem
    assert where in refused.value.problem
    assert allowed in refused.value.allowed


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"missing\.toml: No such file"):
        load_prices(tmp_path / "missing.toml")


def test_a_list_saved_on_windows_is_read_and_one_in_another_encoding_is_refused(
    tmp_path: Path,
) -> None:
    file = tmp_path / "prices.toml"
    text = 'version = "1"\n[backends."Zürich"]\nper_quantum_second = "2"\n'
    file.write_text(text, encoding="utf-8-sig")
    assert load_prices(file).backends["Zürich"].per_quantum_second == 2
    file.write_text(text, encoding="latin-1")
    with pytest.raises(InvalidRequest, match=r"prices\.toml: .*can't decode byte 0xfc"):
        load_prices(file)
