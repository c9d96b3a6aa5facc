"""Zero-shot: nothing is trained, and any number of datasets are tested."""

from study.protocols.transfer import Transfer


class ZeroShot(Transfer):
    """Testing the backbone as it is."""

    name = "zero_shot"
    sentence = (
        "Zero-shot: nothing is trained; the backbone is scored as it is by its accuracy "
        "on all test images, the mean over the datasets where there are several."
    )
    trains = False
    targets = "allowed"
    counts_source = True
    rules = ()
