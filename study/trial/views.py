"""Hidden states of fixed views of training images: what frozen stages make of each, kept once.

A view passes the frozen stages when a batch first shows it. Its states stay as long as there is
room, and what has no room is computed again. So an epoch never needs more than without fixed views.
Where the states of all views are few, they are computed together instead, which is faster.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from study.method.backbone import Backbone
from study.method.peers import PlainPass
from study.method.staged import StagedClassifier
from study.trial.activations import Cache, begin_anew, begin_images, open_table

SMALL = 2**24
"""The most numbers in the states of all views of a table that are computed together, in chunks of a
fixed size: 64 MiB of float32. No setting changes it, since results may round otherwise."""
Pass = tuple[object, ...]
"""What the states of views depend on beside the view."""


class ViewStates:
    """The states of views, by what they depend on, up to a bound.

    A trial makes one pass. For its views, the states of other passes are dropped, those that were
    unused the longest first; its own are never. If each dropped the oldest, a bound that is a
    little too small would keep nothing until it is wanted again.

    Args:
        room: the most bytes that a process keeps.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._bytes = 0
        self._kept: OrderedDict[Pass, dict[str, Tensor]] = OrderedDict()

    def of(self, key: Pass) -> dict[str, Tensor]:
        """Return the states that are kept of a pass by the paths of the views; never change it."""
        kept = self._kept.setdefault(key, {})
        self._kept.move_to_end(key)
        return kept

    def keep(self, key: Pass, path: str, states: Tensor) -> None:
        """Keep the states of a view, if there is room.

        Args:
            key: the pass, the last one that `of` was asked for.
            path: the path of the view, of which nothing is kept.
            states: the states, which hold no memory beside their own.
        """
        while self._bytes + states.nbytes > self.room and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= sum(own.nbytes for own in dropped.values())
        if self._bytes + states.nbytes <= self.room:
            self._kept[key][path] = states
            self._bytes += states.nbytes

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self._bytes = 0


VIEWS = ViewStates(2**29)
"""The states of this process; ``resources.views_gib`` sets the room in a worker."""
WHOLE = Cache(2**26)
"""256 MiB of float32 for features of views, and for tables whose states are few."""


def begin_views(
    model: StagedClassifier | PlainPass,
    backbone: Backbone,
    path: Path,
    wanted: Sequence[str],
    at_once: int,
) -> Tensor:
    """Return what a model's own `begin_images` returns for views of a table.

    On the CPU each view passes alone, unless the states of all are few (`SMALL`). So its states are
    the same to the bit whether they are kept or computed again, and with whichever views it is
    shown. On other devices, where passing alone would take far longer, they may round otherwise.

    Args:
        model: the classifier; its lowest tuned stage is where the states end.
        backbone: the backbone of the classifier.
        path: the table of the views.
        wanted: the paths of the views, in the order wanted.
        at_once: the most views that pass at once on other devices than the CPU.
    """
    table = open_table(path)
    if isinstance(model, PlainPass):  # whose begun images are pixels, which the table has
        return begin_anew(model, backbone, table, wanted)
    most = model.classifier.clip.vision_model.embeddings.position_embedding.weight.numel()
    # Features are few as well, and are computed once for all processes.
    if not model.vision.is_tuned or most * len(table.paths) <= SMALL:
        return begin_images(model, backbone, path, wanted, WHOLE)
    device, precision = model.classifier.device, model.classifier.precision
    key = (path, backbone.state, precision, str(device), model.vision.first)
    kept = VIEWS.of(key)
    found = {view: kept[view] for view in wanted if view in kept}
    missing = [view for view in dict.fromkeys(wanted) if view not in found]
    size = 1 if device.type == "cpu" else at_once
    for start in range(0, len(missing), size):
        some = missing[start : start + size]
        for view, states in zip(some, begin_anew(model, backbone, table, some), strict=True):
            # Of a larger batch, a part would hold the memory of all.
            found[view] = states if len(some) == 1 else states.clone()
            VIEWS.keep(key, view, found[view])
    return torch.stack([found[view] for view in wanted])
