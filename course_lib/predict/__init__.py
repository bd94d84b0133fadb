"""From a trained network to labels on the original grid, and to scores per patient."""

from course_lib.predict.exporting import export
from course_lib.predict.labels import to_labels, to_probabilities
from course_lib.predict.predictor import (
    Prediction,
    Predictor,
    evaluate,
    load,
    predict_all,
    predict_logits,
    prepared_dsc,
    scores,
)

__all__ = ["Prediction", "Predictor", "evaluate", "export", "load", "predict_all",
           "predict_logits", "prepared_dsc", "scores", "to_labels", "to_probabilities"]
