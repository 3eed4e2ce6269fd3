"""What a job is called must outlive every rearrangement of the code."""

from harness.api.specs import job_id, parse_spec

# A spec.json and its directory's name as version 0.1 wrote them.
TRADES_ANCRA = """{"kind": "train", "method": {"name": "trades-ancra", "params": {"attack_steps": 10, "beta": 6.0,
"aux_weight": 2.0, "zeta": 3.0, "alpha": 1.0, "strategy": "random_adv", "negatives_per_anchor": 1}}, "dataset": {"name":
"digits", "fingerprint": "5e95572669527deb", "train_examples": null, "validation_fraction": 0.2}, "model": "small-cnn",
"threat": {"norm": "Linf", "eps": 0.2, "step_size": 0.05}, "protocol": {"epochs": 30, "batch_size": 128, "lr": 0.1,
"momentum": 0.9, "weight_decay": 0.0002, "schedule": "cyclic", "milestones": [0.625, 0.75, 0.8333333333333334],
"augmentation": "none", "weight_averaging": 0.0, "precision": "float32", "selection_steps": 10}, "seed": 0,
"numerics": 2}"""


def test_a_job_directory_of_version_0_1_keeps_its_name():
    """The hash knows values alone: no class, no module."""
    assert job_id(parse_spec(TRADES_ANCRA)) == "train-055e7f19e56df186"
