"""One sentence about two methods: what it is about, and what it refuses to compare."""

import numpy as np
import pandas as pd
import pytest
from reports_example import MASKED, results
from scipy.stats import binomtest

from reports.versus import versus
from results.errors import HarnessError


def nested(correct, **options):
    """Results with the first so many examples of 200 right under every attack, by method."""
    frames = []
    for method, number in correct.items():
        frame = results([method], **options)
        frames.append(frame.assign(verdicts=[np.arange(200) < number] * len(frame)))
    return pd.concat(frames, ignore_index=True)


def test_the_sentence_is_about_the_common_setting_and_the_worst_case():
    """20 examples to none: p = 2 / 2^20, and the interval is Wilson's of 20 in 200."""
    low, high = binomtest(20, 200).proportion_ci(method="wilson")
    assert versus(nested({"trades": 130, "pgd-at": 110}), "pgd-at", "trades").startswith(
        f"trades beats pgd-at by 10.00 points of worst-case accuracy (95 %: {100 * low:.2f} to {100 * high:.2f}) "
        "on the same 200 test examples (digits, small-cnn, Linf 0.2, best checkpoint), "
        "p < 0.001 (exact McNemar; 20 examples to 0); one seed"
    )


def test_attack_and_checkpoint_choose_what_is_compared():
    frame = nested({"trades": 130, "pgd-at": 130})
    where = (frame["method"] == "trades") & (frame["attack"] == "cw") & (frame["checkpoint"] == "last")
    frame.loc[where, "verdicts"] = frame.loc[where, "verdicts"].map(lambda _: np.arange(200) < 140)
    assert "cannot tell" in versus(frame, "trades", "pgd-at", attack="cw")
    said = versus(frame, "trades", "pgd-at", attack="cw", checkpoint="last")
    assert said.startswith("trades beats pgd-at by 5.00 points of cw accuracy")
    assert "last checkpoint" in said


def test_several_seeds_are_tested_over_seeds():
    said = versus(nested({"trades": 131, "pgd-at": 130}, seeds=(0, 1, 2)), "trades", "pgd-at")
    assert "(paired t-test over 3 seeds)" in said
    assert "one seed" not in said


def test_a_doubtful_method_is_named_with_its_reason():
    said = versus(nested({"trades": 130, "trades-ancra": 110}), "trades", "trades-ancra")
    assert said.endswith(f"trades-ancra is masked: {MASKED}.")
    assert "trades is" not in said


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("tardes", "pgd-at"), {}, r"unknown method 'tardes'. Did you mean 'trades'\? Known: pgd-at, trades\."),
        (("trades", "pgd-at"), {"attack": "pgd-2O"}, r"unknown attack of trades 'pgd-2O'. Did you mean 'pgd-20'\?"),
        (("trades", "pgd-at"), {"checkpoint": "first"}, "unknown checkpoint of trades 'first'.* Known: best, last"),
        (("trades", "pgd-at"), {"dataset": "mnist"}, r"unknown data set of trades 'mnist'\. Known: digits"),
        (("trades", "pgd-at"), {"threat": "Linf 0.3"}, r"Did you mean 'Linf 0\.2'"),
        (("trades@ffffff", "pgd-at"), {}, r"unknown protocol of trades 'ffffff'\. Known: a1b2c3"),
        (("trades", "trades@a1b2c3"), {}, "takes two methods, got trades and trades@a1b2c3, which are the same"),
    ],
)
def test_what_does_not_exist_is_an_error_with_what_does(names, options, message):
    with pytest.raises(HarnessError, match=message):
        versus(nested({"trades": 130, "pgd-at": 110}), *names, **options)
    with pytest.raises(HarnessError, match="no results to report yet"):
        versus(results().iloc[:0], "trades", "pgd-at")


def test_several_settings_are_listed_until_one_is_chosen():
    there, here = (nested({"trades": 130, "pgd-at": 110}, dataset=name) for name in ("digits", "mnist"))
    frame = pd.concat([there, here[here["method"] == "trades"]], ignore_index=True)
    assert versus(frame, "trades", "pgd-at") == versus(there, "trades", "pgd-at")
    frame = pd.concat([there, here], ignore_index=True)
    with pytest.raises(
        HarnessError,
        match=r"Linf 0\.2 or mnist, small-cnn, Linf 0\.2: choose one with --dataset digits or --dataset mnist$",
    ):
        versus(frame, "trades", "pgd-at")
    assert "mnist" in versus(frame, "trades", "pgd-at", dataset="mnist")
    apart = pd.concat([there[there["method"] == "trades"], here[here["method"] == "pgd-at"]], ignore_index=True)
    with pytest.raises(HarnessError, match=r"in common: trades has digits.*; pgd-at has mnist, small-cnn"):
        versus(apart, "trades", "pgd-at")


def test_several_protocols_are_listed_until_one_is_named():
    """By what tells them apart, as the tables do and as a shell takes it, or by id."""
    frame = nested({"trades": 130, "pgd-at": 110}).assign(params='{"beta": 6.0, "protocol.lr": 0.1}')
    other = nested({"trades": 160}).assign(protocol="4fee9c", train_id="train-4fee9c01d2")
    other["params"] = '{"beta": 3.0, "protocol.lr": 0.1}'
    frame = pd.concat([frame, other], ignore_index=True)
    listed = r"protocols: name one of 'trades \(beta=6\)' \(seeds 0\), 'trades \(beta=3\)' \(seeds 0\)$"
    with pytest.raises(HarnessError, match=listed):
        versus(frame, "trades", "pgd-at")
    assert versus(frame, "trades (beta=3)", "pgd-at").startswith("trades (beta=3) beats pgd-at by 25.00 points")
    assert versus(frame, "trades@a1b2c3", "trades @4fee9c").startswith("trades @4fee9c beats trades@a1b2c3 by 15.00")
    with pytest.raises(HarnessError, match=r"unknown row 'trades \(beta=4\)'\. Did you mean 'trades \(beta=[36]\)'"):
        versus(frame, "trades (beta=4)", "pgd-at")
    nameless = frame.assign(params="{}")
    with pytest.raises(HarnessError, match=r"'trades @a1b2c3' \(seeds 0\), 'trades @4fee9c' \(seeds 0\)"):
        versus(nameless, "trades", "pgd-at")
    assert "by 25.00 points" in versus(nameless, "trades @4fee9c", "pgd-at")


def test_worst_cases_over_different_attacks_are_not_compared():
    frame = nested({"trades": 130, "pgd-at": 110})
    frame["attack"] = frame["attack"].replace("cw", "my-attack")  # of a plugin: its column is the last
    less = frame[(frame["method"] != "trades") | frame["attack"].isin(["natural", "fgsm", "worst-case"])]
    with pytest.raises(
        HarnessError, match=r"trades natural, fgsm; pgd-at natural, fgsm, pgd-20, .*, adaptive, my-attack\. Attack both"
    ):
        versus(less, "trades", "pgd-at")
    assert versus(less, "trades", "pgd-at", attack="fgsm").startswith("trades beats pgd-at")
