"""Networks. All return logits."""

from course_lib.models.attention_unet import AttentionUNet
from course_lib.models.fcn import FCN
from course_lib.models.resunet34 import ResUNet34
from course_lib.models.unet import UNet, fitting_batch
from course_lib.models.unet_plus_plus import UNetPlusPlus

MODELS = {model.__name__: model                  # by name, to rebuild a run from its config.json
          for model in (UNet, AttentionUNet, ResUNet34, UNetPlusPlus, FCN)}

__all__ = ["MODELS", "AttentionUNet", "FCN", "ResUNet34", "UNet", "UNetPlusPlus", "fitting_batch"]
