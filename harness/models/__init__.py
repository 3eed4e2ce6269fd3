"""The built-in architectures: importing this plugin module registers each of them.

Know images and classes; must not know any method.
"""

from harness.models import preact_resnet, resnet, small_cnn, wide_resnet

__all__ = ["preact_resnet", "resnet", "small_cnn", "wide_resnet"]
