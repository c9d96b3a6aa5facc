"""The command ``predict``: images labelled by a tuned model."""

from argparse import Namespace

from study.process.slow_imports import slow_imports


def label_images(options: Namespace) -> None:
    """Label images with a study's winner, a registered model or a delta.

    Raises:
        StudyError: an option, the model or all of the images cannot be used.
    """
    with slow_imports():
        from study.workflow.lookup import refuse_unknown_model, split_off_storage
    places, storage = split_off_storage(options.images)
    refuse_unknown_model(options.model, storage)
    with slow_imports():
        from study.workflow.image_labels import label_and_write
    label_and_write(options, places, storage)
