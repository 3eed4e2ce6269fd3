"""The adversarial images that an evaluation keeps are those that its verdicts rest on."""

import numpy as np
import pytest
import torch
from oracles import LABELS, MARGINS, Threshold, constant_images

from harness.api.threat import Threat
from harness.attacks import resolve
from harness.evaluation.adversarial import AdversarialParts
from harness.evaluation.judge import Examples, judge
from results.adversarial import read_adversarial
from results.errors import HarnessError

X, THREAT = constant_images(MARGINS), Threat("Linf", 0.1)


def kept(folder, attack="adaptive-20", **options):
    parts = AdversarialParts(folder / "parts")
    options = {"views": {}, "seed": (0,), "batch_size": 2} | options
    judgement = judge(Threshold(), Examples(X, LABELS), resolve(attack), THREAT, keep=parts.keep, **options)
    parts.gather(folder / "adversarial.npz", judgement.verdicts, X.shape[1:])
    return judgement, read_adversarial(folder / "adversarial.npz")


@pytest.mark.parametrize("attack", ["natural", "fgsm", "adaptive-20", "autoattack-fast"])
def test_each_image_fools_the_model_from_within_the_ball(tmp_path, attack):
    judgement, (positions, images) = kept(tmp_path, attack)
    right, model = Threshold()(X).argmax(1) == LABELS, Threshold()
    assert positions.tolist() == (right & ~judgement.verdicts).nonzero().flatten().tolist()
    found, at = torch.from_numpy(images), torch.from_numpy(positions)
    assert found.shape[1:] == X.shape[1:]
    assert THREAT.contains(X[at], found).all()
    assert not (model(found).argmax(1) == LABELS[at]).any()


def test_none_is_lost_or_doubled_by_a_kill_between_an_image_and_its_verdict(tmp_path):
    """Killed once the first batch's images are kept and its verdicts are not: it is attacked, and kept, again."""
    _, whole = kept(tmp_path / "whole")
    options = {"state": tmp_path / "state.pt"}

    class Killed(AdversarialParts):
        def keep(self, positions, images):
            super().keep(positions, images)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(
            Threshold(), Examples(X, LABELS), resolve("adaptive-20"), THREAT,
            views={}, seed=(0,), batch_size=2, keep=Killed(tmp_path / "parts").keep, **options,
        )  # fmt: skip
    assert [*(tmp_path / "parts").iterdir()]
    _, again = kept(tmp_path, **options)
    assert np.array_equal(again.positions, whole.positions)
    assert np.array_equal(again.images, whole.images)


def test_an_image_of_an_example_that_stands_after_all_is_left_out(tmp_path):
    """A batch that is attacked again after a kill may find less than before."""
    parts = AdversarialParts(tmp_path)
    parts.keep(torch.tensor([4, 1]), X[:2])
    parts.gather(tmp_path / "all.npz", torch.tensor([True, True, False, False, False]), X.shape[1:])
    assert read_adversarial(tmp_path / "all.npz").positions.tolist() == [4]


def test_what_is_missing_or_no_archive_is_named(tmp_path):
    with pytest.raises(HarnessError, match=r"missing: .* before adversarial images were kept"):
        read_adversarial(tmp_path / "adversarial.npz")
    (tmp_path / "adversarial.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(HarnessError, match=r"adversarial\.npz is damaged"):
        read_adversarial(tmp_path / "adversarial.npz")
