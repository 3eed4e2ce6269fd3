"""The built-in models: importing this plugin module registers each of them."""

from harness.models import preact_resnet, resnet, small_cnn, wide_resnet

__all__ = ["preact_resnet", "resnet", "small_cnn", "wide_resnet"]
