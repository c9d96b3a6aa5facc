"""The published datasets, in the folders and lists that the field has them in.

A split file of CoOp is `{"train": [[path, label, class name], …], "val": …, "test": …}`; its paths
are relative to the image folder. The class names in the published files are already cleaned. They
are cleaned again here, so that a file with the raw names gives the same prompts.

ImageNet and its four shifted test sets have folders by WordNet id, and names in classnames.txt.
ImageNet's own validation images are the test split, as in the field's papers. Validation images
for selection are therefore drawn from the training images.
"""

from pathlib import Path

from study.data.images.sources import FolderSource
from study.data.readers.benchmarks import (
    BENCHMARKS,
    LAYOUTS,
    SHIFTS,
    Counts,
    Layout,
    download_note,
)
from study.data.readers.own import class_records, subfolders
from study.data.records import (
    SPLITS,
    Contents,
    Dataset,
    Record,
    Records,
    check_splits,
    class_table,
    listed,
    read_json,
    read_label,
    read_text,
    relative_path,
)
from study.errors import DataError

CLASS_NAMES = "classnames.txt"
WITHOUT_LISTS = (*SHIFTS, "imagenet")
"""The datasets of which no file lists the images."""
Lists = tuple[tuple[str, ...], Records, Records, Records, tuple[str, ...]]
"""The class names, the images of train, val and test, and the image folders, which may be links."""


def load_published(name: str, root: Path) -> Contents:
    """Read a dataset of the table of benchmarks, from its folder in root or from root itself.

    Raises:
        DataError: if a list or an image folder is missing, or a list is invalid; the message says
            how to get the dataset.
    """
    read, folder, marker = READERS[name]
    place = root / folder
    if not place.is_dir() and (root / marker).exists():
        place = root
    try:
        names, train, val, test, anchors = read(name, place)
        # Of a dataset with several image folders, a study may need the images of one alone.
        several = LAYOUTS[name].anchors if name in LAYOUTS else ()
        absent = [a for a in anchors if a not in several and not (place / a).is_dir()]
        if absent:
            raise DataError(f"image folder {absent[0]} is missing; looked in {place}")
    except DataError as error:
        raise DataError(f"{error}. {download_note(name, place)}") from error
    return names, train, val, test, FolderSource(place, anchors)


def read_split_file(
    path: Path, layout: Layout
) -> tuple[tuple[str, ...], Records, Records, Records]:
    """Read class names, train, val and test from a split file.

    Raises:
        DataError: if the file is missing or not JSON, or an entry is malformed, is listed twice, or
            has a path outside the folder; the message names the entry.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(split), list) for split in SPLITS
    ):
        raise DataError(f"{path}: needs the lists 'train', 'val' and 'test'")
    splits = [
        [
            _entry(entry, layout.images, where=f"{path}, {split}[{number}]")
            for number, entry in enumerate(content[split])
        ]
        for split in SPLITS
    ]
    dropped = {r.label for entries in splits for r, raw in entries if raw in layout.dropped}
    # Renumber the classes that are kept, so that their labels are 0..n-1 again.
    splits = [
        [
            (Record(record.path, record.label - sum(d < record.label for d in dropped)), raw)
            for record, raw in entries
            if raw not in layout.dropped
        ]
        for entries in splits
    ]
    pairs = {(record.label, layout.clean(raw)) for entries in splits for record, raw in entries}
    names = class_table(sorted(pairs), where=str(path))
    train, val, test = (tuple(record for record, _ in entries) for entries in splits)
    check_splits(train, val, test, where=str(path))
    return names, train, val, test


def _entry(entry: object, images: str, *, where: str) -> tuple[Record, str]:
    """Return the record and the raw class name of one `[path, label, class name]`."""
    match entry:
        case [str(text), value, str(name)] if (label := read_label(value)) is not None:
            path = relative_path(text, where=where)
            return Record(f"{images}/{path}" if images else path, label), name.strip()
    raise DataError(f"{where}: got {entry!r:.200}; allowed is [path, label, class name]")


def _read_coop(name: str, folder: Path) -> Lists:
    """Read a dataset that has a published split file (one of `LAYOUTS`)."""
    layout = LAYOUTS[name]
    names, train, val, test = read_split_file(folder / layout.split, layout)
    used = {record.path.partition("/")[0] for record in (*train, *val, *test)}
    return names, train, val, test, tuple(a for a in (layout.images, *layout.anchors) if a in used)


def _read_aircraft(name: str, folder: Path) -> Lists:
    """Read FGVC Aircraft, whose splits are text files with one `image variant` per line.

    Raises:
        DataError: if a list is missing, a line has an unknown variant, or a variant has no training
            image.
    """
    file = folder / "variants.txt"
    names = class_table(enumerate(_lines(file).values()), where=str(file))
    splits: dict[str, list[Record]] = {split: [] for split in SPLITS}
    for split, records in splits.items():
        file = folder / f"images_variant_{split}.txt"
        for number, line in _lines(file).items():
            image, _, variant = line.partition(" ")
            where = f"{file}, line {number}"
            if variant.strip() not in names:
                raise DataError(f"{where}: variant {variant.strip()!r} is not in variants.txt")
            path = relative_path(f"{image}.jpg", where=where)
            records.append(Record(f"images/{path}", names.index(variant.strip())))
    train, val, test = (tuple(records) for records in splits.values())
    check_splits(train, val, test, where=str(folder))
    if untrained := sorted(set(range(len(names))) - {record.label for record in train}):
        raise DataError(
            f"{folder / 'images_variant_train.txt'}: no image of "
            f"{listed(names[label] for label in untrained)}"
        )
    return names, train, val, test, ("images",)


def _lines(path: Path) -> dict[int, str]:
    """Read the lines of a text file that are not blank: the number of each → its stripped text."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    return {number: line.strip() for number, line in lines if line.strip()}


def read_class_names(path: Path) -> dict[str, str]:
    """Read `n01440764 tench` lines: WordNet id → class name, in the file's order.

    Raises:
        DataError: if the file cannot be read or is empty, or a line is malformed or repeats an id;
            the message names the line.
    """
    names: dict[str, str] = {}
    for number, line in _lines(path).items():
        wnid, _, name = line.partition(" ")
        if not name.strip() or wnid in names:
            raise DataError(
                f"{path}, line {number}: {line[:80]!r} "
                f"{'repeats an id' if wnid in names else 'has no class name'}; allowed: 'id name'"
            )
        names[wnid] = name.strip()
    if not names:
        raise DataError(f"{path}: has no class names")
    # The published list has a few names twice (such as that of sunglasses), so a repeated name
    # cannot be an error here.
    return names


def _class_folders(name: str, folder: Path) -> tuple[dict[str, str], dict[str, str], Layout | None]:
    """Return class folder → class name, split → its folder, and the shift, unless it is ImageNet.

    classnames.txt is looked for in the dataset's folder, or in imagenet/ beside it.
    """
    shift = SHIFTS.get(name)
    beside = folder.parent / "imagenet" / CLASS_NAMES
    own = folder / CLASS_NAMES
    names = read_class_names(beside if not own.exists() and beside.exists() else own)
    if shift is None:
        return names, {"train": "images/train", "test": "images/val"}, None
    if shift.numbered:
        names = {str(number): text for number, text in enumerate(names.values())}
    return names, {"test": shift.images}, shift


def _read_imagenet(name: str, folder: Path) -> Lists:
    """Read ImageNet, or one of its shifted test sets, which have no training images.

    Raises:
        DataError: if classnames.txt is missing, a folder has no class name, or the two splits of
            ImageNet differ in classes.
    """
    names, places, shift = _class_folders(name, folder)
    found = {s: subfolders(folder / p) for s, p in places.items() if (folder / p).is_dir()}
    for split, present in found.items():
        place = folder / places[split]
        if unknown := [wnid for wnid in present if wnid not in names]:
            raise DataError(f"{place}: folders without a class name: {listed(unknown)}")
        if not present:
            raise DataError(f"{place}: has no class folders, one for each id of {CLASS_NAMES}")
    if len(found) == 2 and (odd := set(found["train"]) ^ set(found["test"])):
        raise DataError(f"{folder}/images: train and val differ in classes: {listed(sorted(odd))}")
    # The class of a missing numbered folder stays a possible answer, without images.
    classes = list(names) if not found or (shift and shift.numbered) else next(iter(found.values()))
    records = {s: class_records(folder, places[s], classes, optional=bool(shift)) for s in found}
    return (
        tuple(names[own] for own in classes),
        records.get("train", ()),
        (),
        records.get("test", ()),
        (shift.images,) if shift else ("images", *places.values()),
    )


def absent_classes(name: str, dataset: Dataset) -> list[str]:
    """Return the class folders of ImageNet or a shift of it that are missing or have no image.

    No file lists the classes of a subset. Its missing folders are therefore only counted, and only
    if classnames.txt is complete.
    """
    source = dataset.source
    if name not in WITHOUT_LISTS or not isinstance(source, FolderSource):
        return []
    names, places, shift = _class_folders(name, source.root)
    subset = shift.subset if shift else 0
    filled = {record.path.rpartition("/")[0] for record in (*dataset.train, *dataset.test)}
    absent: list[str] = []
    for place in places.values():
        if (source.root / place).is_dir():
            present = subfolders(source.root / place)
            wanted = present if subset else sorted(names)
            absent += [f"{place}/{key}" for key in wanted if f"{place}/{key}" not in filled]
            if len(present) < subset and len(names) >= 1000:
                absent.append(f"{place}/n… ({subset - len(present)} of {subset})")
    return absent


def published_otherwise(dataset: Dataset) -> Counts | None:
    """Return the published numbers of a benchmark dataset; None if it has these, or has none."""
    benchmark = BENCHMARKS.get(dataset.name)
    splits = (dataset.train, dataset.val, dataset.test)
    if benchmark is None or benchmark.counts == (len(dataset.class_names), *map(len, splits)):
        return None
    return benchmark.counts


READERS = {
    "imagenet": (_read_imagenet, "imagenet", CLASS_NAMES),
    "fgvc_aircraft": (_read_aircraft, "fgvc_aircraft", "variants.txt"),
    **{name: (_read_coop, layout.folder, layout.split) for name, layout in LAYOUTS.items()},
    **{name: (_read_imagenet, shift.folder, shift.images) for name, shift in SHIFTS.items()},
}
"""The reader of each dataset, its folder, and what is in root if root itself is that folder."""
