"""What is called what: trainings of one method by the settings in which they differ."""

from results_jobs import train_spec

from results.labels import method_label, protocol_id, protocol_labels, settings_of


def labelled(*specs):
    """The label of each spec's protocol among all of them."""
    found = protocol_labels({protocol_id(spec): settings_of(spec) for spec in specs})
    return [found[protocol_id(spec)] for spec in specs]


def trades(beta=6.0, **changes):
    return train_spec("trades", **changes) | {"method": {"name": "trades", "params": {"beta": beta, "zeta": 1}}}


def test_settings_are_named_as_users_set_them():
    assert settings_of(trades()) == {
        **{"beta": 6.0, "zeta": 1, "model": "small-cnn", "numerics": 1, "protocol.epochs": 3, "protocol.lr": 0.1},
        **{"dataset.name": "digits", "dataset.fingerprint": "ab12", "dataset.train_examples": None},
        **{"dataset.validation_fraction": 0.1, "threat.norm": "Linf", "threat.eps": 0.2, "threat.step_size": 0.05},
    }


def test_protocols_are_labelled_by_what_differs_and_by_nothing_else():
    longer = {"protocol": {"epochs": 30, "lr": 0.1}}
    assert labelled(trades()) == [""]
    assert labelled(trades(), trades(3.0)) == ["beta=6", "beta=3"]
    assert labelled(trades(), trades(seed=1), trades(3.0, **longer)) == [
        *["beta=6, epochs=3"] * 2,
        "beta=3, epochs=30",
    ]


def test_labels_come_in_the_order_of_their_numbers():
    specs = [trades(beta) for beta in (10.0, 0.5, 9.0, 1e-05)]
    found = protocol_labels({protocol_id(spec): settings_of(spec) for spec in specs})
    assert list(found.values()) == ["beta=1e-05", "beta=0.5", "beta=9", "beta=10"]


def test_a_setting_whose_last_name_is_another_settings_too_is_named_in_full():
    method = {"name": "trades", "params": {"lr": 1.0}}
    specs = [trades() | {"method": method, "protocol": {"lr": lr}} for lr in (0.1, 0.2)]
    assert labelled(*specs) == ["protocol.lr=0.1", "protocol.lr=0.2"]


def test_what_cannot_be_told_apart_by_three_settings_has_its_id():
    """Nothing to name, or a fourth difference: unique all the same."""
    bare, extended = trades(), trades() | {"protocol": {"epochs": 3, "lr": 0.1, "new": 1}}
    assert labelled(bare, extended) == [f"@{protocol_id(bare)}", "new=1"]
    many = [trades() | {"protocol": {"a": 1, "b": 2, "c": 3, "d": last}} for last in (1, 2)]
    many.append(trades() | {"protocol": {"a": 2, "b": 3, "c": 4, "d": 1}})
    first, second, third = labelled(*many)
    assert first == f"a=1, b=2, c=3, ... @{protocol_id(many[0])}"
    assert second == f"a=1, b=2, c=3, ... @{protocol_id(many[1])}"
    assert third == "a=2, b=3, c=4, ..."


def test_a_method_is_labelled_with_its_protocol():
    assert [method_label("trades", text) for text in ("", "beta=3", "@1b0e50")] == [
        *("trades", "trades (beta=3)", "trades @1b0e50")
    ]
