"""The name by which models that version 0.1 registered import the classifier: they load by it."""

from study.serving.classifier import TunedClassifier, load_classifier

__all__ = ["TunedClassifier", "load_classifier"]
