"""What tests of probes share: how a model is looked at, and a linear one with a fault."""

import torch
from oracles import Linear
from torch import nn

from harness.api.threat import Threat
from harness.trust.findings import Evidence, diagnose
from harness.trust.probes import probe

LINF = Threat("Linf", 0.1)


def look(model, x, y, threat=LINF, **settings):
    return probe(model, x, y, threat, generator=torch.Generator().manual_seed(0), **settings)


def codes(probes):
    """What is found beside the attacks that were not run."""
    return {finding.code for finding in diagnose(Evidence({}, 0, probes=probes))} - {"weak-evaluation"}


class Then(nn.Module):
    """A linear model of ``before(x)``, whose logits go through ``after``."""

    def __init__(self, linear: Linear, before=lambda x: x, after=lambda logits: logits):
        super().__init__()
        self.linear, self.before, self.after = linear, before, after

    def forward(self, x):
        return self.after(self.linear(self.before(x)))
