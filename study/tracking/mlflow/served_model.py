"""The code that MLflow runs for a registered model ("models from code"), copied beside the delta.

The artifact has the tuned parameters, a linear head if there is one, names, and the code of this
package with the embedded backbone. It has no pickle and no other backbone. At load time,
``model_config`` may set other ``class_names``, another location of the same backbone (``backbone``,
``revision``), and the ``device``. Class names that the head was trained on keep its vectors; see
`study.serving.classifier.load_classifier`.
"""

import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.pyfunc.utils import pyfunc

from study.errors import DataError
from study.serving.classifier import TunedClassifier, load_classifier
from study.tracking.mlflow.mlflow_internals import in_scoring_server

# MLflow warns that the input type is not checked. That is on purpose: images come in many forms.
with warnings.catch_warnings(record=True):

    class _Predictions:
        """The method that answers requests.

        This class does not inherit from `PythonModel`, because MLflow would wrap ``predict`` so
        that it accepts only lists and tables.
        """

        _classifier: TunedClassifier
        _files: bool

        def predict(
            self,
            context: PythonModelContext,
            model_input: list[Any],
            params: dict[str, Any] | None = None,
        ) -> pd.DataFrame:
            """Classify a list or a column of images, or one; see `TunedClassifier.predict`.

            The forms of images are those of `study.data.images.sources.read_any_image`.

            Raises:
                MlflowException: an image cannot be read.
            """
            images = model_input
            if isinstance(images, tuple | pd.Series):
                images = list(images)
            return self._classify(images if isinstance(images, list | pd.DataFrame) else [images])

        @pyfunc  # converts a table to a list
        def _classify(self, model_input: list[Any]) -> pd.DataFrame:
            try:
                found = self._classifier.predict(model_input, files=self._files)
            except DataError as error:
                raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error
            return found.reset_index(drop=True)


class ServedClassifier(_Predictions, PythonModel):
    """A CLIP classifier with the tuned parameters of a study's best configuration."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the backbone, check that it is the tuned one, and embed the class names."""
        delta = Path(context.artifacts["delta"])
        self._classifier = load_classifier(delta, **context.model_config)
        # Over HTTP, file names in requests would let anyone read the server's files.
        self._files = not in_scoring_server()


set_model(ServedClassifier())
