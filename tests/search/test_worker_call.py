"""A function that is called on a worker has what a trial has, and its errors are told here."""

import pytest
import torch

from study.config.schema import StudyConfig
from study.errors import BackboneError
from study.search.worker_call import call_on_worker


@pytest.mark.usefixtures("ray_cluster")
def test_a_worker_that_cannot_train_says_why():
    def unable():
        raise BackboneError(f"PyTorch sees no GPU, {torch.get_num_threads()} thread")

    with pytest.raises(BackboneError, match=r"^PyTorch sees no GPU, 1 thread$"):
        call_on_worker(StudyConfig(), unable)
