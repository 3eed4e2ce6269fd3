"""FGSM, PGD and C&W side by side with Foolbox, an established library, example by example."""

import warnings

import pytest
import torch
from oracles import run, untrained
from torch import nn

from harness.api.threat import Threat
from harness.attacks import resolve

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports a module that SciPy renamed
    import foolbox


@pytest.fixture
def network():
    return untrained()


class FoolboxMargin:
    """Foolbox's PGD loop on the Carlini-Wagner margin, written here without our losses."""

    def get_loss_fn(self, model, labels):
        def loss(inputs):
            logits = model(inputs.raw)
            right = nn.functional.one_hot(labels.raw, logits.shape[1])
            margins = (logits - 1e9 * right).amax(1) - (logits * right).sum(1)
            return foolbox.models.base.ep.astensor(margins.clamp(max=0).sum())

        return loss


class LinfMargin(FoolboxMargin, foolbox.attacks.LinfProjectedGradientDescentAttack):
    pass


class L2Margin(FoolboxMargin, foolbox.attacks.L2ProjectedGradientDescentAttack):
    pass


FOOLBOX = {
    "fgsm": (foolbox.attacks.LinfFastGradientAttack, foolbox.attacks.L2FastGradientAttack, 1),
    "pgd": (foolbox.attacks.LinfPGD, foolbox.attacks.L2PGD, 20),
    "cw": (LinfMargin, L2Margin, 20),
}


@pytest.mark.parametrize("name", FOOLBOX)
@pytest.mark.parametrize("threat", [Threat("Linf", 0.01), Threat("L2", 0.1)], ids=str)
def test_an_attack_agrees_with_foolbox_example_by_example(threat, name, network):
    """Same start (the image), same steps of the same size: the same images, ours the first that fools the model."""
    model, x, y = network
    linf, l2, steps = FOOLBOX[name]
    criterion = foolbox.criteria.Misclassification(y)
    expected, standing = x.clone(), torch.ones(len(x), dtype=torch.bool)
    for step in range(1, steps + 1):
        size = {} if name == "fgsm" else {"abs_stepsize": 0.1 * threat.eps, "steps": step}
        theirs = (linf if threat.norm == "Linf" else l2)(random_start=False, **size)
        found = theirs.run(foolbox.PyTorchModel(model, bounds=(0, 1)), x, criterion, epsilon=threat.eps)
        expected[standing] = found[standing]
        standing &= model(expected).argmax(1) == y
    fields = "" if name == "fgsm" else f"-{steps}:step_size={0.1 * threat.eps}:random_start=false"
    x_adv = run(resolve(name + fields), model, x, y, threat)
    torch.testing.assert_close(x_adv, expected, rtol=0, atol=1e-5)
    fooled = model(x_adv).argmax(1) != y
    assert torch.equal(fooled, model(expected).argmax(1) != y)
    assert 0 < fooled.sum() < len(y)
