"""Networks. All return logits."""

from course_lib.models.unet import UNet, fitting_batch

MODELS = {"UNet": UNet}      # by name, to rebuild a run from its config.json

__all__ = ["MODELS", "UNet", "fitting_batch"]
