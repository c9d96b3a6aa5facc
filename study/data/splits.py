"""Splits of a dataset's images; images of a group stay on one side of each."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

from study.data.records import (
    SHOWN,
    Record,
    Records,
    Splits,
    in_order,
    keyed_order,
    listed,
    listed_texts,
    ordered_records,
)
from study.errors import DataError

GROUP_SHARES = (0.5, 0.3, 0.2)
"""The shares of train, test and val where groups are split."""


def find_groups(records: Records, pattern: str | None, *, where: object) -> Records:
    """Return the images, each with the group that its path tells.

    Args:
        records: the images.
        pattern: a regular expression that is searched in each path; the group is what its first
            capture group matches, or all that it matches. None leaves the images as they are.
        where: the dataset's folder or table, for the message.

    Raises:
        DataError: the path of an image tells no group.
    """
    if pattern is None:
        return records
    finder = re.compile(pattern)
    grouped = []
    for record in records:
        match = finder.search(record.path)
        group = match[min(finder.groups, 1)] if match else None
        grouped.append(replace(record, group=group or ""))
    unmatched = [record.path for record in grouped if not record.group]
    if unmatched:
        raise DataError(
            f"{where}: data.groups {pattern!r} finds no group in the paths of {len(unmatched)} of "
            f"{len(records)} images: {listed(unmatched)}; expected a regular expression that "
            "finds one in the path of every image, with '/' between folders"
        )
    return tuple(grouped)


def has_groups(records: Iterable[Record]) -> bool:
    """Return whether images are of groups."""
    return any(record.group for record in records)


def without_groups_of(records: Iterable[Record], others: Iterable[Record]) -> Records:
    """Return the images without those that share a group with other images."""
    groups = {record.group for record in others} - {""}
    return tuple(record for record in records if record.group not in groups)


def refuse_shared_groups(splits: Splits, *, where: str) -> None:
    """Refuse a split with a group on two sides.

    Raises:
        DataError: there is one; the message names groups, and an image on each side.
    """
    first_of: dict[str, tuple[str, str]] = {}
    examples = {}
    for split, records in splits._asdict().items():
        for record in records:
            before, path = first_of.setdefault(record.group, (split, record.path))
            if record.group and before != split:
                examples[record.group] = f"{path!r} in {before} and {record.path!r} in {split}"
    if examples:
        raise DataError(
            f"{where}: {len(examples)} groups are on two sides of the split, so scores would be "
            f"too high: {listed_texts([*examples.values()])}; expected each group on one side, "
            "or no split at all, as images are then split by their groups"
        )


def assign_groups(records: Sequence[Record], shares: Sequence[float], key: str) -> list[int]:
    """Return the number of the part that each image goes to; a group goes to one part.

    The largest groups are dealt first, each to the part that lacks its classes the most, and of
    several to the one that lacks the most images. Where two groups are as large, the key decides.

    Args:
        records: the images, all of them with groups.
        shares: the share of each part; their sum is 1.
        key: a text that fixes the order.
    """
    import numpy as np  # most studies have no groups, and a configuration is read without it

    # Beside the labels from −1 on, each image counts for 0, which stands for all images.
    labels_of: dict[str, list[int]] = defaultdict(list)
    for record in records:
        labels_of[record.group] += [0, record.label + 2]
    groups = sorted(keyed_order(labels_of, key), key=lambda group: -len(labels_of[group]))
    sizes = np.bincount([*chain(*labels_of.values())])
    lacking = np.repeat(np.array(shares)[:, None], len(sizes), axis=1)
    part_of = {}
    for group in groups:
        share = np.bincount(labels_of[group], minlength=len(sizes)) / np.maximum(sizes, 1)
        # Rounded, so that equal sums are equal on every machine.
        part = int(np.argmax((lacking * share).sum(axis=1).round(9)))
        lacking[part] -= share
        part_of[group] = part
    return [part_of[record.group] for record in records]


def assign_folds(records: Sequence[Record], parts: int, key: str) -> dict[Record, int]:
    """Return the number of the part that each image goes to; parts are equal and stratified.

    The images of a class are dealt in turn, in an order that depends on the key and their paths.
    Classes begin in turn too, so that single images of classes go to several parts. Images with
    groups are dealt by these, see `assign_groups`.

    Args:
        records: the images.
        parts: the number of parts.
        key: a text that fixes the order.
    """
    part_of = {}
    for turn, images in enumerate(ordered_records(records, key).values()):
        for position, record in enumerate(images):
            part_of[record] = (position + turn) % parts
    if has_groups(records):
        part_of = dict(
            zip(part_of, assign_groups([*part_of], [1 / parts] * parts, key), strict=True)
        )
    return part_of


def split_by_groups(
    records: Sequence[Record], shares: Sequence[float], key: str, class_names: Sequence[str]
) -> list[Records]:
    """Return the images of each part, with whole groups; the first two parts have all classes.

    See `assign_groups`.

    Raises:
        DataError: one of these lacks a class; the message names it and its groups.
    """
    parts: list[list[Record]] = [[] for _ in shares]
    ordered = in_order(records)
    for record, part in zip(ordered, assign_groups(ordered, shares, key), strict=True):
        parts[part].append(record)
    on_both_sides = {r.label for r in parts[0]} & {r.label for r in parts[1]}
    undivided = [record for record in ordered if record.label not in on_both_sides]
    if undivided:
        names = dict.fromkeys(class_names[record.label] for record in undivided)
        groups = dict.fromkeys(record.group for record in undivided)
        raise DataError(
            f"{key}: no division by groups has images of every class on both sides; not of "
            f"{listed(names)}, with groups {listed(groups)}; expected classes of 2 groups or "
            "more that share few groups with other classes, or a split of your own"
        )
    return [tuple(part) for part in parts]


def fixed_split(
    records: Iterable[Record], class_names: Sequence[str], *, key: str, val: bool = True
) -> Splits:
    """Split the images of each class into train, val and test, always in the same way.

    About half of a class goes to train, three tenths to test and the rest to val. The split depends
    on the records and the key alone, not on the seed of a study. Images with groups are split by
    these.

    Args:
        records: the images to split.
        class_names: the class names, indexed by label.
        key: a text that fixes the split, usually the dataset's name.
        val: whether to make a validation split; without one, train and test get half of a class
            each.

    Raises:
        DataError: if a class has fewer than two images, or cannot be divided by its groups; the
            message names these classes.
    """
    order = f"split of {key}"
    records = tuple(records)
    by_label = ordered_records(records, order)
    too_small = []
    for label, name in enumerate(class_names):
        count = len(by_label.get(label, ()))
        if count < 2:
            too_small.append(f"{name!r} ({count})")
    if too_small:
        raise DataError(
            f"{key}: a class needs at least 2 images, one to train on and one to test on; "
            f"too small: {', '.join(too_small[:SHOWN])}"
        )
    if has_groups(records):
        grouped_train, grouped_test, rest = split_by_groups(
            records, GROUP_SHARES, order, class_names
        )
        return Splits(grouped_train, rest, grouped_test)
    train = []
    validation = []
    test = []
    for images in by_label.values():
        count = len(images)
        middle = max(1, count // 2)
        end = middle
        if val:
            end = count - max(1, round(0.3 * count))
        train += images[:middle]
        validation += images[middle:end]
        test += images[end:]
    return Splits(in_order(train), in_order(validation), in_order(test))
