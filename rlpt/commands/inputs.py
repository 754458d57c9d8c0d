"""Commands that fetch or check what experiments read: video clips and ImageNet."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlpt.commands.options import FolderOrFile, data_option, quiet_option

if TYPE_CHECKING:
    from rlpt.data.image_folder import ClassChoice


@click.group()
def data() -> None:
    """Fetch or check inputs: video clips and ImageNet."""


@data.command("videos")
@data_option
def data_videos(data: Path) -> None:
    """Download the three published background clips. Clips that are there are checked by SHA-256."""
    from rlpt.data.videos import fetch_videos

    for number, path in fetch_videos(data / "videos").items():
        click.echo(f"video {number}: {path}")


@data.command("imagenet")
@click.argument("path", type=FolderOrFile())
@click.option("--classes", type=click.Choice(["paper", "all"]), default="paper", show_default=True)
@click.option("--size", type=click.IntRange(min=8), default=100, show_default=True, help="Pixels; environment.size.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="Worker processes.  [default: all]")
@quiet_option
@data_option
def data_imagenet(path: Path, classes: "ClassChoice", size: int, threads: int, quiet: bool, data: Path) -> None:
    """Check a folder of labelled images and decode it into the cache. Its images are
    train/CLASS/*.JPEG and val/CLASS/*.JPEG.

    The classes are the paper's 100, or with --classes all every folder of train/. Manifests look for the images at
    DATA/imagenet (a link will do).

    \b
    Example: rlpt data imagenet /datasets/ILSVRC2012
    """
    from rlpt.data.image_cache import check_and_cache

    # A cache has the name that manifests know the images by.
    known = next((each for each in sorted(data.glob("*")) if each.resolve() == path.resolve()), None)
    if known is None and path.is_dir():
        click.echo(f"rlpt: manifests look for images in {data}: `ln -s {path.resolve()} {data / 'imagenet'}`", err=True)
    path = known or path
    for line in check_and_cache(path, classes, size, data / "cache", threads, quiet):
        click.echo(line)
