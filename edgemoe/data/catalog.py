"""What data is there, where it came from, and how to get the rest."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from edgemoe.data.archive import open_archive
from edgemoe.data.download import EMNIST_URL
from edgemoe.data.emnist import cache_path, count_samples, emnist_sets, label_mapping
from edgemoe.data.fields import field_names, read_labels, read_writers
from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded

__all__ = ["DataRecord", "list_data"]


@dataclass(frozen=True)
class DataRecord:
    """One set of samples.

    Attributes
    ----------
    name : str
    path : str
        What `load_samples` takes, or would take once the set is there.
    present : bool
    samples, classes, writers : int or None
        How many; None where that is not known.
    source, licence : str
    note : str
        How to get a set that is absent, or what is wrong with one that is present.
    """

    name: str
    path: str
    present: bool
    samples: int | None = None
    classes: int | None = None
    writers: int | None = None
    source: str = "not known"
    licence: str = "not known"
    note: str = ""


_EMNIST = DataRecord(
    "EMNIST",
    "emnist/emnist.zip",
    False,
    source="EMNIST, Cohen et al. 2017, from NIST Special Database 19",
    licence="none stated in the archive; published by NIST",
    note=f"download_emnist(), or by hand: save {EMNIST_URL} under this path",
)

_UNIPEN = DataRecord(
    "UNIPEN writers",
    "unipen/writers.npz",
    False,
    source="UNIPEN train_r01_v07 (Zenodo, doi 10.5281/zenodo.1195803), writer names removed",
    licence="CC BY 4.0",
    note="cut UNIPEN's characters into an .npz of points, stroke_length, sample_stroke_offset, label, writer",
)

_KNOWN = [
    _UNIPEN,
    replace(_UNIPEN, name="UNIPEN small writers", path="unipen/writers_small.npz"),
    DataRecord(
        "MNIST by writer",
        "mnist_by_writer/digits.npz",
        False,
        source="MNIST, with the writer of each digit from QMNIST",
        licence="MNIST: none stated; QMNIST: BSD",
        note="join MNIST's images with QMNIST's writer numbers in an image archive (image, label, writer)",
    ),
    DataRecord(
        "photos",
        "photos",
        False,
        source="the Hand-Written collection by Bishwaprotapi",
        licence="MIT",
        note="put photos of single characters into the folder, with a labels.csv (file,label)",
    ),
]


def list_data(folder: str | os.PathLike[str] | None = None) -> list[DataRecord]:
    """List the sets of samples in a data folder, and the known ones that it lacks.

    Only headers, labels and writers are read, no image.

    Parameters
    ----------
    folder : path-like, optional
        By default $EDGEMOE_DATA; without that only the cache of the `emnist` package is looked at. The cache
        also stands in for a folder without `emnist/emnist.zip`. Known sets are known by their path in it.

    Returns
    -------
    list of DataRecord
        A file that cannot be read has its error in `note`.

    Raises
    ------
    EdgemoeError
        If `folder` is given, by argument or by $EDGEMOE_DATA, and is no folder.
    """
    chosen = folder if folder is not None else os.environ.get("EDGEMOE_DATA") or None
    if chosen is None:
        return list(_emnist_records(cache_path()))
    root = Path(chosen)
    if not root.is_dir():
        raise EdgemoeError(f"{root}: no such folder of data")
    archive = root / _EMNIST.path
    records = list(_emnist_records(archive if archive.is_file() else cache_path()))
    for known in _KNOWN:
        found = replace(known, path=str(root / known.path))
        records.append(_counted(found) if (root / known.path).exists() else found)
    listed = {record.path for record in records}
    for path in sorted([*root.glob("*.npz"), *root.glob("*/*.npz")]):
        if str(path) not in listed:
            records.append(_counted(DataRecord(str(path.relative_to(root)), str(path), False)))
    return records


def _emnist_records(path: Path) -> Iterator[DataRecord]:
    absent = replace(_EMNIST, path=str(path))
    if not path.is_file() or path.stat().st_size == 0:
        yield absent
        return
    try:
        with open_archive(path) as archive:
            for selection in emnist_sets(archive):
                name, split = selection.rsplit(":", 1)
                yield replace(
                    absent,
                    name=f"EMNIST {name} {split}",
                    path=f"{path}:{selection}",
                    present=True,
                    samples=count_samples(archive, name, split),
                    classes=len(set(label_mapping(archive, name).values())),
                    source=_emnist_source(name),
                    note="",
                )
    except EdgemoeError as error:
        yield replace(absent, present=True, note=str(error))


def _emnist_source(name: str) -> str:
    """Say where a set comes from: the `-part` sets must never pass for official splits."""
    official, _, part = name.partition("-")
    if part:
        return f"part of the official EMNIST {official} test split, no official split itself; {_EMNIST.source}"
    return _EMNIST.source


def _counted(record: DataRecord) -> DataRecord:
    """Complete the record of a set that is there."""
    try:
        if Path(record.path).is_dir():
            labels, writers = _photo_labels(Path(record.path)), None
        else:
            with open_archive(record.path) as archive:
                if not field_names(archive) & {"points", "image"}:
                    raise EdgemoeError("holds no samples")
                labels = read_labels(archive).tolist()
                writers = read_writers(archive, len(labels))
    except EdgemoeError as error:
        return replace(record, present=True, note=str(error))
    return replace(
        record,
        present=True,
        samples=len(labels),
        classes=len(set(labels)),
        writers=None if writers is None else len(set(writers.tolist())),
        note="",
    )


def _photo_labels(folder: Path) -> list[str]:
    table = folder / "labels.csv"
    if not table.is_file():  # one sub-folder a character
        return [path.parent.name for path in folder.glob("?/*") if path.is_file()]
    lines = read_bounded(table, 1 << 26).decode("utf-8-sig", "replace").splitlines()
    return [row["label"] for row in csv.DictReader(lines) if row.get("label")]
