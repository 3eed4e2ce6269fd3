"""One features job: how features move under attack, and a map of them; cf. the figures of ANCRA, arXiv 2310.03358."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.api.data import Data
from harness.api.errors import HarnessError
from harness.api.model import heads_of
from harness.api.specs import FeaturesSpec
from harness.api.threat import Threat
from harness.compute.ascent import ascend
from harness.compute.checkpoints import load_state, save_state
from harness.compute.files import save_array, save_arrays
from harness.compute.images import device_of
from harness.compute.modes import evaluating, exact_float32
from harness.compute.randomness import derive_seed, generator
from harness.evaluation.job import checkpoint_model, examples_of
from harness.evaluation.judge import Examples, Report
from results.errors import optional
from results.layout import JobFiles

_STEPS = 10  # of PGD on the final logits
_KEPT_IMAGES = 32
_MEASURES = ("own_distance", "own_cosine", "other_distance", "other_cosine")


def features_job(
    spec: FeaturesSpec, data: Data, device: torch.device, files: JobFiles, report: Report
) -> dict[str, Any]:
    """One features job: leaves ``features.npz`` and the first test images; what goes into ``result.json``.

    Finished batches survive a kill.
    """
    model = checkpoint_model(spec.train, files.sibling(spec.train_id), spec.checkpoint, data).to(device)
    split = data.test.head(spec.test_examples)
    examples, threat = examples_of(split), Threat.of(spec.threat)
    partners = partners_of(examples.y, generator(spec.seed, "partners"))
    state: dict[str, Any] = {"natural": [], "measures": []}
    state = load_state(files.evaluation_state, torch.device("cpu"), state) or state
    batches = torch.split(torch.arange(len(examples.y)), spec.batch_size)
    for number, batch in [*enumerate(batches)][len(state["natural"]) :]:
        draws = generator(spec.seed, "features", number, device=device)
        natural, measures = measured(model, examples, batch, partners[batch], threat, draws)
        state["natural"].append(natural)
        state["measures"].append(measures)
        save_state(files.evaluation_state, state)
        report({"examples": int(batch[-1]) + 1, "of": len(examples.y)})
    features = torch.cat(state["natural"]).numpy()
    arrays = {
        "labels": split.labels.astype(np.int32),
        "embedding": embedded(features, spec.embedding, derive_seed(spec.seed, "embedding") % 2**32),
        **dict(zip(_MEASURES, torch.cat(state["measures"]).T.numpy(), strict=True)),
    }
    save_arrays(files.features, **arrays)
    save_array(files.images, split.images[:_KEPT_IMAGES])
    return {"images": len(split)}


def partners_of(y: Tensor, draws: torch.Generator) -> Tensor:
    """For each of the labels (N,) the position of a random example of another class.

    Raises:
        HarnessError: if there is one class only.
    """
    others = y[:, None] != y
    if not others.any(1).all():
        raise HarnessError("features need test examples of two classes, there is one: raise --test-examples")
    return torch.multinomial(others.float(), 1, generator=draws).flatten()


def measured(
    model: nn.Module, examples: Examples, batch: Tensor, partners: Tensor, threat: Threat, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The natural features (M, D) of the examples at ``batch`` (M,), and L2 distances and cosines (M, 4) from them.

    First to the same image attacked, then to the image at ``partners``, attacked towards the label of the first.
    """
    x, y = examples.at(batch, device_of(model))
    other, _ = examples.at(partners, device_of(model))
    natural = _features(model, x)

    def loss(z: Tensor) -> Tensor:
        return F.cross_entropy(model(z), y, reduction="sum")

    measures = []
    for images, objective in ((x, loss), (other, lambda z: -loss(z))):
        start = threat.random_start(images, draws)
        attacked = _features(
            model, ascend(model, images, objective, threat, start=start, steps=_STEPS, step_size=threat.eps / 4)
        )
        measures += [torch.linalg.vector_norm(natural - attacked, dim=1), F.cosine_similarity(natural, attacked)]
    return natural.cpu(), torch.stack(measures, 1).cpu()


def _features(model: nn.Module, x: Tensor) -> Tensor:
    with evaluating(model), torch.no_grad(), exact_float32(x.device):
        features = heads_of(model, x).features
    if features is None:
        raise HarnessError(
            f"{type(model).__name__} hides its features: give it heads(x, y=None), which returns "
            "harness.api.model.Heads with features (N, D), or run without --features"
        )
    return features


def embedded(features: NDArray[np.float32], kind: str, seed: int) -> NDArray[np.float32]:
    """Features (N, D) in two dimensions (N, 2): by t-SNE, or by UMAP with the settings of ANCRA's figures.

    Raises:
        HarnessError: for UMAP where it is not installed.
    """
    if kind == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(features) - 1) / 3)
        found = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(features)
    else:
        umap = optional("umap", "umap")
        settings = {"n_neighbors": 12, "min_dist": 0.01, "metric": "correlation", "densmap": True, "dens_lambda": 1.5}
        found = umap.UMAP(**settings, random_state=seed, n_jobs=1).fit_transform(features)
    return np.asarray(found, np.float32)
