"""The one table of checks: what each measures, from where on that is a reason to doubt, and who says so. No torch here.

Honest models were measured to set the limits: natural, PGD-AT, TRADES, MART, weight-averaged and linear ones on digits,
and published evaluations on CIFAR. A limit lies above what all of those show.
"""

from dataclasses import dataclass

from harness.trust import evidence as read
from harness.trust.evidence import Reading

POINTS = "points"

_AUTOATTACK = "[Croce & Hein 2020](https://arxiv.org/abs/2003.01690)"
_ADAPTIVE = "[Tramer et al. 2020](https://arxiv.org/abs/2002.08347)"
_CHECKLIST = "[Carlini et al. 2019](https://arxiv.org/abs/1902.06705)"
_INDICATORS = "[Pintor et al. 2022](https://arxiv.org/abs/2106.09947)"
_OBFUSCATED = "[Athalye et al. 2018](https://arxiv.org/abs/1802.00420)"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One row of the table: ``measure`` reads one number from the evidence, in ``unit``.

    Above the limit ``suspect`` or ``masked`` (None: never) it is a finding of that severity. ``message`` may show the
    number as ``{value}``.
    """

    code: str
    definition: str
    measure: Reading
    suspect: float | None = None
    masked: float | None = None
    unit: str = POINTS
    source: str
    message: str
    advice: str


_ROWS = (
    Check(
        code="nothing-to-attack",
        definition="whether the 95 % interval of the natural accuracy reaches down to chance (1: yes)",
        measure=read.no_better_than_chance,
        suspect=0.0,
        unit="yes",
        source=_CHECKLIST,
        message="the model is right no more often than by chance",
        advice="check labels, order of the classes, normalisation and weights: there is no accuracy to attack",
    ),
    Check(
        code="adversarial-above-natural",
        definition="highest accuracy under an attack minus natural accuracy",
        measure=read.above_natural,
        masked=0.0,
        source=_CHECKLIST,
        message="more is right under attack than without",
        advice="the numbers are not of the same examples, or the model is not the same from call to call",
    ),
    Check(
        code="fgsm-beats-pgd",
        definition="lowest accuracy under PGD minus accuracy under FGSM",
        measure=read.fgsm_below_pgd,
        masked=1.0,
        source=_OBFUSCATED,
        message="one step finds more than many",
        advice="the loss surface is not what the gradient says: attack a smooth stand-in (adaptive)",
    ),
    Check(
        code="pgd-far-above-autoattack",
        definition="lowest accuracy under PGD minus accuracy under AutoAttack",
        measure=read.autoattack_below_pgd,
        suspect=15.0,
        source=_AUTOATTACK,
        message="AutoAttack finds far more than PGD",
        advice="compare the loss along the attack's path; the cross-entropy gradient may be saturated",
    ),
    Check(
        code="apgd-t-far-below-apgd-ce",
        definition="share of the examples that APGD-T breaks after APGD-CE",
        measure=read.broken_by_apgd_t,
        suspect=15.0,
        source=_AUTOATTACK,
        message="differences of logits find far more than the cross-entropy",
        advice="the cross-entropy is saturated: attack the margin, and look at the scale of the logits",
    ),
    Check(
        code="adaptive-below-autoattack",
        definition="accuracy under AutoAttack minus accuracy under the adaptive attack",
        measure=read.adaptive_below_autoattack,
        suspect=1.5,
        masked=3.0,
        source=_ADAPTIVE,
        message="AutoAttack overestimates by {value:.2f} points",
        advice="report the worst case; AutoAttack does not see what this model hides",
    ),
    Check(
        code="black-box-wins",
        definition="share of the examples that Square breaks after AutoAttack's white-box attacks",
        measure=read.broken_by_square,
        suspect=0.2,
        masked=2.0,
        source=_AUTOATTACK,
        message="a search without gradients finds more than gradients did",
        advice="the gradients mislead: name differentiable stand-ins in attack_views()",
    ),
    Check(
        code="transfer-wins",
        definition="share of the examples that gradients of another model break after the model's own",
        measure=read.broken_by_transfer,
        suspect=1.0,
        masked=3.0,
        source=_CHECKLIST,
        message="another model's gradients find more than its own did",
        advice="the model's own gradients mislead: name differentiable stand-ins in attack_views()",
    ),
    Check(
        code="unconfirmed-success",
        definition="share of the examples whose claimed success the stored model does not confirm in float32",
        measure=read.unconfirmed,
        suspect=1.0,
        source="success is what another look confirms",
        message="successes do not survive another look",
        advice="attack in float32; if the forward pass is random or depends on the batch, fix that first",
    ),
    Check(
        code="weak-evaluation",
        definition="strong attacks (autoattack, adaptive) that were not run",
        measure=read.strong_attacks_missing,
        suspect=0.0,
        unit="attacks",
        source=_ADAPTIVE,
        message="not attacked at full strength",
        advice="add autoattack and adaptive to the attacks before the number is reported",
    ),
    Check(
        code="zero-gradient",
        definition="share of the examples whose gradient is exactly zero or missing, at the image or at a random start",
        measure=read.zero_gradient,
        suspect=2.0,
        masked=50.0,
        source=_INDICATORS,
        message="there is no gradient to follow",
        advice="look for saturation, quantisation or detached features before the logits",
    ),
    Check(
        code="vanishing-gradient",
        definition="share that PGD-20 leaves with a gradient under 1e-6 nats, if stronger attacks find 3 points more",
        measure=read.vanishing_gradient,
        suspect=5.0,
        source=_OBFUSCATED,
        message="what withstands has next to no gradient",
        advice="look for saturated logits or masks; attack the logits' margin or an auxiliary output",
    ),
    Check(
        code="false-gradient",
        definition="1 minus the correlation of what the gradient foretells of moves by eps / 10 with what they do",
        measure=read.broken_promise,
        suspect=0.1,
        masked=0.5,
        unit="1 - correlation",
        source=_CHECKLIST,
        message="the gradient foretells what does not come",
        advice="compare it with finite differences; look for custom backward passes, hooks and detached parts",
    ),
    Check(
        code="shattered-gradient",
        definition="1 minus the mean cosine of the gradients at the image and in a random tenth of the ball around it",
        measure=read.gradient_turn,
        suspect=0.3,
        unit="1 - cosine",
        source=_OBFUSCATED,
        message="small noise turns the gradient",
        advice="average the gradient over small noise, or attack a smooth stand-in",
    ),
    Check(
        code="unstable-loss",
        definition="mean of c / (c + r): the loss changes by c within a random tenth of the ball, PGD-20 gains r",
        measure=read.loss_noise,
        suspect=0.1,
        unit="share",
        source=_INDICATORS,
        message="small noise moves the loss as an attack does",
        advice="average the loss over small noise or over the model's randomness (EOT)",
    ),
    Check(
        code="incomplete-optimisation",
        definition="share that PGD-40 leaves although the loss rose by over 5 % of its range in the last 10 steps",
        measure=read.probed_share("incomplete"),
        suspect=5.0,
        source=_INDICATORS,
        message="the attack was stopped while it was gaining",
        advice="attack with more steps, until the loss no longer rises",
    ),
    Check(
        code="silent-success",
        definition="share of the examples that an earlier iterate of PGD-20 broke and the last one did not",
        measure=read.probed_share("silent"),
        suspect=2.0,
        source=_INDICATORS,
        message="the attack succeeds on its way and returns something else",
        advice="use an attack that keeps its best iterate (autoattack, adaptive)",
    ),
    Check(
        code="more-steps-win",
        definition="share of the examples that PGD-40 breaks after PGD-20",
        measure=read.probed_share("more_steps"),
        suspect=6.0,
        source=_CHECKLIST,
        message="twice the steps find more",
        advice="attack with more steps, until more find nothing",
    ),
    Check(
        code="restarts-win",
        definition="share of the examples that the other four of five restarts of PGD-20 break after the first",
        measure=read.probed_share("restarts"),
        suspect=9.0,
        source=_CHECKLIST,
        message="more restarts find more",
        advice="attack with more restarts, until more find nothing",
    ),
    Check(
        code="noise-wins",
        definition="share of the examples that one of 100 random points of the ball breaks after PGD-20",
        measure=read.probed_share("noise"),
        suspect=1.0,
        masked=3.0,
        source=_CHECKLIST,
        message="random noise finds what gradients did not",
        advice="the gradients mislead: name differentiable stand-ins in attack_views()",
    ),
    Check(
        code="unbounded-attack-fails",
        definition="share of the examples that PGD-100 leaves when all of [0, 1] is allowed",
        measure=read.unbounded_left,
        suspect=2.0,
        masked=10.0,
        source=_CHECKLIST,
        message="an attack without bounds fails",
        advice="any image can be turned into one of another class: the gradients do not lead there",
    ),
    Check(
        code="not-monotone",
        definition="largest rise of the accuracy under PGD from one eps (x 1/4, 1/2, 1, 2, 4, unbounded) to the next",
        measure=read.highest_rise,
        suspect=2.0,
        masked=10.0,
        source=_CHECKLIST,
        message="a larger ball breaks less",
        advice="what a smaller ball contains the larger does too: the attack loses its way",
    ),
    Check(
        code="randomised-forward",
        definition="largest L2 distance of the normalised logits of one image in five forward passes",
        measure=read.forward_spread,
        suspect=1e-4,
        unit="distance",
        source=_AUTOATTACK,
        message="the model answers differently each time",
        advice="repeat the attack over the randomness (EOT), or fix the randomness",
    ),
    Check(
        code="depends-on-batch",
        definition="share of 16 examples whose logits are other ones in pairs than in the whole batch",
        measure=read.depends_on_batch,
        suspect=0.05,
        unit="share",
        source=_CHECKLIST,
        message="what the model says of an image hangs on the images beside it",
        advice="normalise by running statistics in place of the batch's: as it is, no accuracy is defined",
    ),
    Check(
        code="answers-otherwise",
        definition="share whose normalised logits change where a gradient is wanted, beyond rounding and own spread",
        measure=read.answers_otherwise,
        suspect=10.0,
        masked=50.0,
        source=_CHECKLIST,
        message="whoever wants a gradient gets another answer",
        advice="make the forward pass the same with gradients on and off: attacks see another model than users do",
    ),
    Check(
        code="softmax-output",
        definition="whether all outputs are probability distributions (1: yes)",
        measure=read.softmax_output,
        suspect=0.0,
        unit="yes",
        source=_AUTOATTACK,
        message="the model returns probabilities",
        advice="return logits: a softmax saturates and hides the gradient",
    ),
    Check(
        code="dynamic-forward",
        definition="calls of autograd in one forward pass",
        measure=read.autograd_calls,
        suspect=0.0,
        unit="calls",
        source=_AUTOATTACK,
        message="the model optimises while it answers",
        advice="a model that optimises at inference needs an attack through that optimisation",
    ),
)
CHECKS = {row.code: row for row in _ROWS}


def checks_table() -> str:
    """The table in Markdown: code, definition, limits and their unit, source."""
    head = "| code | what is measured | suspect above | masked above | unit | source |\n|---|---|---:|---:|---|---|"
    rows = (
        (f"`{row.code}`", row.definition, _limit(row.suspect), _limit(row.masked), row.unit, row.source)
        for row in _ROWS
    )
    return "\n".join((head, *(f"| {' | '.join(row)} |" for row in rows))) + "\n"


def _limit(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
