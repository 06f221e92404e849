"""What a pruned expert learns from: the unpruned one and larger networks beside it, asked once for all images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgemoe.cli.trained import Trained, load_trained
from edgemoe.cli.training import Sets, count_bar, epochs_bar
from edgemoe.errors import EdgemoeError

if TYPE_CHECKING:
    from edgemoe.global_expert.lessons import Lessons

__all__ = ["Taught", "TeacherEpochs", "TeacherFiles", "Teachers", "ask_teachers", "read_teachers", "train_teachers"]

Teachers = Annotated[
    int,
    typer.Option(
        "--teachers", min=0, max=8,
        help="Larger networks to train first, whose answers, averaged with the unpruned one's, a pruned one learns "
        "from. 0: from the unpruned one's alone.",
    ),
]  # fmt: skip
TeacherEpochs = Annotated[int, typer.Option("--teacher-epochs", min=1, help="Of each teacher's training.")]
TeacherFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--teacher", help="A teacher-1.npz that train-global left, to learn from too; may be given several times."
    ),
]

PLAIN = 2  # last epochs of a teacher's training, on undistorted images
SMOOTHING = 0.0  # of its labels: smoothed, they hide from the pupil which wrong classes are likely (arXiv 1906.02629)
VARIANTS = 6  # distorted ones of each training image, where there is room
ROOM = 4 << 30  # bytes that all of them may take
STRENGTH = 0.5  # of their distortions: a small network learns more from half of what suits the unpruned one


@dataclass(frozen=True)
class Taught:
    """What pruned experts learn from.

    Attributes
    ----------
    lessons : Lessons
    record : dict
        How images were distorted, and where there are several teachers their shapes and accuracies.
    """

    lessons: "Lessons"
    record: dict[str, Any]


def train_teachers(number: int, epochs: int, classes: str, sets: Sets, out: Path, seed: int) -> list[Trained]:
    """Train larger networks that differ by their seeds, each resumable in its own file of the folder."""
    from edgemoe.global_expert.build import train_expert
    from edgemoe.global_expert.train import Recipe
    from edgemoe.global_expert.vgg import VGG_SHAPE

    plain = min(PLAIN, epochs - 1)
    files = [out / f"teacher-{index + 1}.npz" for index in range(number)]
    for index, file in enumerate(files):
        recipe = Recipe(epochs - plain, plain, smoothing=SMOOTHING, seed=seed + index)
        with epochs_bar(f"training teacher {index + 1} of {number}", epochs) as progress:
            train_expert(VGG_SHAPE, classes, sets.train, sets.validation, recipe, file, progress, architecture="vgg")
    return [load_trained(file) for file in files]


def read_teachers(files: Sequence[Path], classes: str) -> list[Trained]:
    """Read trained networks to learn from.

    Raises
    ------
    EdgemoeError
        If one is no trained network, or not one of these classes.
    """
    teachers = [load_trained(file) for file in files]
    for file, teacher in zip(files, teachers, strict=True):
        if teacher.classes != classes:
            raise EdgemoeError(f"{file}: tells the classes {teacher.classes!r} apart, and not {classes!r}")
    return teachers


def ask_teachers(trained: Trained, teachers: Sequence[Trained], sets: Sets, seed: int) -> Taught:
    """Let the unpruned expert and the larger networks, normalization settled, answer together for all pruned ones."""
    from edgemoe.global_expert.lenet5 import widths
    from edgemoe.global_expert.lessons import Ensemble, prepare_lessons
    from edgemoe.global_expert.train import accuracy, settle_normalization

    images, labels = sets.train.images, sets.train.labels
    variants = max(1, min(VARIANTS, ROOM // images.nbytes - 1))
    members = [settle_normalization(teacher.network, images) for teacher in (trained, *teachers)]
    with count_bar("asking the teachers" if teachers else "asking the unpruned expert") as count:
        ensemble = Ensemble(members)
        lessons = prepare_lessons(ensemble, images, labels, variants, seed, count, STRENGTH)
    record: dict[str, Any] = {"variants": variants, "strength": STRENGTH}
    if teachers:
        names = ["unpruned", *(f"teacher-{index + 1}" for index in range(len(teachers)))]
        held = sets.validation.images, sets.validation.labels
        record["teachers"] = {
            name: {"shape": list(widths(member)), "validation": round(accuracy(member, *held), 5)}
            for name, member in zip(names, members, strict=True)
        } | {"together": {"validation": round(accuracy(ensemble, *held), 5)}}
    return Taught(lessons, record)
