"""What RobustBench's leaderboards ask for. Its README, issue forms and tests: https://github.com/RobustBench/robustbench."""

from collections.abc import Iterator

from reports.submission.boards import DATASETS, has_board, threats
from reports.submission.measured import Measured
from results.names import AUTOATTACK, NATURAL

EXAMPLES = 10_000
_FIRST = 200
_LEAST = {"cifar10": 0.70, "cifar100": 0.45}  # clean accuracy on the first 200 examples that its tests ask for
_FORBIDDEN = {
    "randomised-forward": "the model draws at random: the leaderboard takes deterministic models alone",
    "depends-on-batch": "what the model says of an image hangs on the others in its batch: no accuracy is defined",
    "dynamic-forward": "the model optimises while it answers: the leaderboard takes no optimisation loop at inference",
}
_NO_GRADIENT = "the model has no gradient to follow: the leaderboard asks for gradients that are not zero"


def refusals(found: Measured) -> list[str]:
    """Every reason for which the leaderboard would not take the model, and what would be right."""
    return [*_of_setting(found), *_of_evaluation(found), *_of_model(found)]


def _of_setting(found: Measured) -> Iterator[str]:
    if found.dataset not in DATASETS:
        yield f"there is no board for {found.dataset}: train on {' or '.join(DATASETS)}"
    elif not has_board(found.dataset, found.threat):
        right = " or ".join(threats(found.dataset))
        yield f"there is no board for {found.dataset} at {found.threat}: harness run --eval-eps to be at {right}"


def _of_evaluation(found: Measured) -> Iterator[str]:
    if "autoattack" not in found.verdicts:
        run = ", ".join(row["attack"] for row in found.attacks)
        yield f"all of AutoAttack was not run, only {run}: add {AUTOATTACK[0]} to --attacks of harness run"
    if found.examples < EXAMPLES:
        yield f"evaluated on {found.examples:,} test examples of {EXAMPLES:,}: run again without --test-examples"
    if NATURAL not in found.verdicts:
        yield "the accuracy without an attack was not measured: add natural to --attacks"
    elif found.dataset in _LEAST and (right := found.verdicts[NATURAL][:_FIRST].mean()) <= _LEAST[found.dataset]:
        yield (
            f"{100 * right:.2f} % of the first {_FIRST} test examples are right without an attack: "
            f"RobustBench's tests ask for more than {100 * _LEAST[found.dataset]:.0f} %"
        )


def _of_model(found: Measured) -> Iterator[str]:
    if found.findings is None:
        yield "nobody looked for randomness or a loop in the model: the same harness run again makes the diagnosis"
    for finding in found.findings or ():
        if finding["code"] in _FORBIDDEN:
            yield f"{_FORBIDDEN[finding['code']]} ({finding['evidence']})"
        elif (finding["code"], finding["severity"]) == ("zero-gradient", "masked"):
            yield f"{_NO_GRADIENT} ({finding['evidence']})"
