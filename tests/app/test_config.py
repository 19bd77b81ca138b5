"""A configuration is read whole, checked against itself, and refused with what would mend it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from switch.config import load
from switch.core.response_code import Meaning
from switch.errors import ConfigurationInvalid

KEY = base64.b64encode(bytes(range(32))).decode()
GOOD = f"""
switch_id = "s1"
journal = "sqlite:journal.db"
insecure = true

[processors.acme]
codes = {{ "96" = "technical" }}
card_keys = [{{ key_id = "k1", public_key = "{KEY}", not_after = 2099-01-01T00:00:00Z }}]

[processors.beta]
node_timeout_s = 0.5

[nodes.acme-1]
processor = "acme"
ledger = "acme"
address = "127.0.0.1:7201"

[nodes.acme-2]
processor = "acme"
ledger = "acme"
address = "127.0.0.1:7202"
tier = 1

[nodes.beta-1]
processor = "beta"
ledger = "beta"
address = "127.0.0.1:7301"

[[routes]]
bins = ["400000-499999", "510000"]
currencies = ["EUR"]
processors = ["beta", "acme"]

[[routes]]
processors = ["acme"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "switch.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigurationInvalid) as refused:
        load(written(folder, text))
    return str(refused.value)


def test_a_good_configuration_is_read_as_it_stands(tmp_path: Path) -> None:
    read = load(written(tmp_path, GOOD))
    assert [node.name for node in read.nodes] == ["acme-1", "acme-2", "beta-1"]
    assert read.nodes[1].tier == 1
    assert read.processors["beta"].node_timeout_s == 0.5
    assert read.processors["acme"].node_timeout_s == 1.0
    assert read.processors["acme"].codes["96"].meaning is Meaning.TECHNICAL
    assert read.processors["acme"].card_keys[0].public_key == bytes(range(32))
    assert read.routes[0].bins == ((400_000, 499_999), (510_000, 510_000))
    assert read.journal_path == tmp_path / "journal.db"


def test_the_version_names_the_files_contents(tmp_path: Path) -> None:
    first = load(written(tmp_path, GOOD)).version
    assert load(written(tmp_path, GOOD)).version == first
    assert load(written(tmp_path, GOOD + "\n# changed\n")).version != first


def test_an_unknown_key_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    said = refusal(tmp_path, GOOD.replace("tier = 1", "teir = 1"))
    assert "switch.toml: unknown key nodes.acme-2.teir" in said
    assert 'did you mean "tier"?' in said
    assert "allowed: processor, ledger, address, tier, limit, weight" in said


def test_a_value_of_the_wrong_kind_is_refused_with_its_key(tmp_path: Path) -> None:
    said = refusal(tmp_path, GOOD.replace("tier = 1", 'tier = "one"'))
    assert "`int`" in said
    assert "tier" in said


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('processor = "beta"', 'processor = "gamma"', 'nodes.beta-1.processor = "gamma"'),
        ('ledger = "beta"', 'ledger = "acme"', 'belongs to processor "acme" already'),
        ("tier = 1", "weight = nan", "nodes.acme-2.weight = nan must be a finite number"),
        ("127.0.0.1:7301", "127.0.0.1:0", "the port must be 1 or more"),
        ('switch_id = "s1"', 'switch_id = ""', "switch_id must not be empty"),
        ('ledger = "beta"', 'ledger = " "', "nodes.beta-1.ledger must not be empty"),
        ('["beta", "acme"]', '["beta", "beta"]', '"beta" stands there more than once'),
        ('processor = "beta"', 'processor = "acme"', 'routes.0.processors: "beta" has no node'),
        ("tier = 1", "tier = -1", "nodes.acme-2.tier must be 0 or more"),
        ("tier = 1", "limit = 1", "nodes.acme-2.limit must be 2 or more"),
        ("tier = 1", "weight = 0.0", "nodes.acme-2.weight must be above 0"),
        ("127.0.0.1:7301", "nowhere", 'nodes.beta-1.address = "nowhere" is not host:port'),
        ('"510000"', '"51000"', 'routes.0.bins: "51000"'),
        ('"400000-499999"', '"499999-400000"', 'routes.0.bins: "499999-400000"'),
        ('["beta", "acme"]', '["beta", "gamma"]', 'routes.0.processors: "gamma"'),
        ('["beta", "acme"]', "[]", "routes.0.processors: at least one"),
        ('[[routes]]\nprocessors = ["acme"]', "", "routes: the last one must be the default"),
        ('"96" = "technical"', '"96" = "approved"', '"approved" is none of'),
        ('"96" = "technical"', '"00" = "declined"', "is an approval and keeps its meaning"),
        (KEY, "c2hvcnQ=", "must be 32 bytes"),
        (KEY, "not base64!", "must be 32 bytes"),
        ("2099-01-01T00:00:00Z", "2099-01-01T00:00:00", "not_after needs a time zone"),
        ("node_timeout_s = 0.5", "node_timeout_s = -1.0", "node_timeout_s must be above 0"),
        ("node_timeout_s = 0.5", "node_timeout_s = 2.0", "timeouts.payment_s = 3.0 is too short"),
        ("insecure = true", "insecure = false", "plain text needs insecure = true"),
        ('"sqlite:journal.db"', '"mysql:journal"', 'must be "sqlite:PATH"'),
        ('"sqlite:journal.db"', '"sqlite:"', 'must be "sqlite:PATH"'),
    ],
)
def test_each_broken_rule_is_named_with_its_key(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in GOOD
    assert expected in refusal(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("[timeouts]\npayment_s = nan", "timeouts.payment_s = nan must be a finite number"),
        ('[tls]\ncertificate = "nowhere.pem"', 'tls.certificate = "nowhere.pem"'),
        ("[timeouts]\nnode_s = 0.0", "timeouts.node_s must be above 0"),
        ("[timeouts]\nnode_s = 2.0", "timeouts.payment_s = 3.0 is too short"),
        ("[timeouts]\nflight_s = 1.0", "timeouts.flight_s must be at least"),
        ("[identities]\nkept_days = 0", "identities.kept_days must be 1 or more"),
        ("[reversals]\nparallel_max = 0", "reversals: parallel_max"),
        ("[routing.stall]\nwaiting_min = 0", "routing: stall.waiting_min"),
        ("[routing.stall]\nsilence_max_s = 1.5", "routing.stall.silence_max_s must be at most"),
        ("[routing.breaker]\npermit_s = 1.0", "routing.breaker.permit_s must be above"),
        ('[listen]\nterminals = "0.0.0.0:1"', "plain text is allowed on loopback only"),
        ('[listen]\nterminals = "example.org:1"', "must be an IP address or localhost"),
        ('[listen]\noperators = "127.0.0.1"', 'listen.operators = "127.0.0.1" is not host:port'),
    ],
)
def test_bounds_are_checked_against_their_neighbours(
    tmp_path: Path, section: str, expected: str
) -> None:
    assert expected in refusal(tmp_path, f"{GOOD}\n{section}\n")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    broken = GOOD.replace("tier = 1", "tier = -1").replace("127.0.0.1:7301", "nowhere")
    assert len(refusal(tmp_path, broken).splitlines()) == 2


@pytest.mark.parametrize("text", ["", "switch_id = ", "\x00", 'nodes = "none"'])
def test_what_is_no_configuration_is_refused_and_not_raised(tmp_path: Path, text: str) -> None:
    assert "switch.toml" in refusal(tmp_path, text)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml")


def test_the_addresses_of_ipv6_are_understood(tmp_path: Path) -> None:
    read = load(written(tmp_path, GOOD + '[listen]\nterminals = "[::1]:7100"\n'))
    assert read.document.listen.terminals == "[::1]:7100"
