"""A peer's settings are those of its row."""

import pytest
from pydantic import ValidationError

from study.config.baselines import BASELINES
from study.config.loading import build_config
from study.config.peer_settings import Peer
from study.config.trial_settings import TrialSettings
from study.method.peers import PEERS
from study.storage.ledger_files import JsonObject
from tests.case_tables import from_table


@pytest.mark.parametrize("method", PEERS)
def test_what_is_not_given_is_that_of_the_row(method: str):
    row, peer = PEERS[method], Peer(method=method, lr=0.1)
    assert (peer.optimizer, peer.weight_decay) == (row.optimizer, row.weight_decay)
    assert peer.numbers == {name: number.default for name, number in row.numbers.items()}
    common = {"method", "lr", "optimizer", "weight_decay"}
    assert {*peer.model_dump()} - common == {*row.numbers}
    other = Peer(method=method, lr=0.1, optimizer="sgd", weight_decay=0.25)
    assert Peer.model_validate(other.model_dump(mode="json")) == other


@from_table
def test_a_number_without_an_effect_or_out_of_its_limits_is_refused(given: JsonObject, why: str):
    with pytest.raises(ValidationError, match=why):
        TrialSettings.model_validate({"subset": "none", "peer": {"lr": 0.1, **given}})


@pytest.mark.parametrize("method", PEERS)
def test_an_entry_that_asks_for_a_peer_has_the_range_and_the_numbers_of_its_row(
    method: str,
):
    values = {"search": {"baselines": {"mine": {"peer": method}}}}
    search = build_config(values, "here").search
    own = search.searched_methods["mine"]
    assert isinstance(own, BASELINES[f"[{method}]"])
    assert own.lr == PEERS[method].rates
    assert own.with_rate(0.25) == Peer(method=method, lr=0.25)
    assert "zero-shot" in search.baselines
