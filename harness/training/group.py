"""Several processes that train one model as one process would, each passing its share of every batch through it.

All of them draw the same random numbers and compute the same loss of the whole batch; only the model's passes are
divided. So a method needs to know nothing of it, and what a loss draws, ranks or compares across the batch stays what
it is. A loss must see the weights through the model's outputs alone: a penalty on them would count once per process.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from harness.api.errors import HarnessError
from harness.api.model import Heads, heads_of


class Group:
    """``size`` processes, of which this is number ``rank``; by default one, which does everything."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def divided(self, model: nn.Module) -> nn.Module:
        """``model``, each process passing its share of a batch; all see all outputs. Its weights are the model's."""
        return model if self.size == 1 else _Divided(model, self)

    def share(self, values: Tensor) -> Tensor:
        """This process's share of (N, ...): as equal as can be, in the order of the ranks."""
        return values.tensor_split(self.size)[self.rank]

    def sum_gradients(self, model: nn.Module) -> None:
        """Give all processes the gradient of the loss of the whole batch, of which each has a share."""
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        if self.size == 1 or not gradients:
            return
        flat = _summed(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def agree(self, epoch: int, device: torch.device) -> None:
        """Raise :class:`HarnessError` unless all processes go on from the same epoch."""
        if self.size == 1:
            return
        seen = _summed(torch.nn.functional.one_hot(torch.tensor(self.rank), self.size).to(device) * epoch).tolist()
        if len(set(seen)) > 1:
            raise HarnessError(f"the processes of one training found checkpoints of epochs {seen}: run it again")


class _Divided(nn.Module):
    """See :meth:`Group.divided`. BatchNorm in training takes its statistics over the shares of all processes."""

    def __init__(self, model: nn.Module, group: Group) -> None:
        super().__init__()
        self.model, self.group = model, group
        for module in model.modules():
            if type(module) in _ACROSS:
                module.__class__ = _ACROSS[type(module)]

    def forward(self, x: Tensor) -> Tensor:
        """The model's logits (N, K)."""
        return self._whole(self.model(self._own(x)), len(x))

    def heads(self, x: Tensor, y: Tensor | None = None) -> Heads:
        """The model's heads."""
        own = heads_of(self.model, self._own(x), None if y is None else self.group.share(y))
        features = None if own.features is None else self._whole(own.features, len(x))
        auxiliary = tuple(self._whole(logits, len(x)) for logits in own.auxiliary)
        return Heads(self._whole(own.logits, len(x)), auxiliary, features)

    def _own(self, x: Tensor) -> Tensor:
        own: Tensor = _Share.apply(x, self.group)
        return own

    def _whole(self, own: Tensor, count: int) -> Tensor:
        whole: Tensor = _Whole.apply(own, count, self.group)
        return whole


def _summed(values: Tensor) -> Tensor:
    values = values.contiguous()
    dist.all_reduce(values)
    return values


def _joined(own: Tensor, count: int, group: Group) -> Tensor:
    """The shares of all processes as one (count, ...), of any lengths: a sum in which the others' places are 0."""
    whole = torch.zeros(count, *own.shape[1:], device=own.device)
    group.share(whole).copy_(own)
    return _summed(whole).to(own.dtype)


class _Share(torch.autograd.Function):
    """The own share of images; their gradient is that of all shares."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.count, ctx.group = len(x), group
        return group.share(x).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _joined(gradients[0], ctx.count, ctx.group), None


class _Whole(torch.autograd.Function):
    """The outputs of all shares; the gradient goes back to the own one."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, count: int, group: Group) -> Tensor:
        ctx.group = group
        return _joined(own, count, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return ctx.group.share(gradients[0]), None, None


class _Total(torch.autograd.Function):
    """The sum over all processes, each of which uses it for its own share."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed(values.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _summed(gradients[0].clone())


class _AcrossProcesses(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over the whole batch: torch's own does so on GPUs alone."""

    def forward(self, x: Tensor) -> Tensor:
        """As BatchNorm does, statistics in float32."""
        if not self.training:
            return super().forward(x)
        dims, shape = [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
        values = x.float()
        ones = torch.full((x.shape[1],), x.numel() / x.shape[1], device=x.device)
        count = _summed(ones)
        mean = _Total.apply(values.sum(dims)) / count
        centred = values - mean.view(shape)
        variance = _Total.apply(centred.square().sum(dims)) / count
        self._remember(mean.detach(), (variance * count / (count - 1)).detach())
        normal: Tensor = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance, weight)


class _Across1d(_AcrossProcesses, nn.BatchNorm1d):
    pass


class _Across2d(_AcrossProcesses, nn.BatchNorm2d):
    pass


class _Across3d(_AcrossProcesses, nn.BatchNorm3d):
    pass


_ACROSS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _Across1d,
    nn.BatchNorm2d: _Across2d,
    nn.BatchNorm3d: _Across3d,
}
