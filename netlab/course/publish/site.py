"""A folder with a site in it: what is ours there, and how a new site takes the place of an old one."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from netlab.errors import InvalidInputError, LabError

#: Lists the files that are ours. A folder without it is somebody else's.
_MARKER = ".netlab-site.json"


class Site:
    """A folder to publish into; files that are not ours are left alone."""

    def __init__(self, folder: Path, *, force: bool = False) -> None:
        """Look whether the folder may be used; raises InvalidInputError, and changes nothing."""
        self.folder = folder
        if folder.exists() and not folder.is_dir():
            raise InvalidInputError(f"{folder} is a file. Name a folder for the site, or one that is still to be made.")
        if folder.is_dir() and any(folder.iterdir()) and not (folder / _MARKER).is_file() and not force:
            raise InvalidInputError(
                f"{folder} holds files that netlab did not write. Choose another folder; or add --force: then pages "
                "are written over files of the same name, and all other files stay."
            )

    def write(self, files: dict[str, bytes]) -> None:
        """Put a new site in the place of the old one; what the old one had more is taken away."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            old = self._ours()
            marker = {_MARKER: json.dumps({"files": sorted(files)}, indent=1).encode()}
            for name, data in (files | marker).items():
                self._replace(name, data)
            for name in old - set(files):
                self._remove(name)
        except OSError as error:
            raise LabError(f"The site cannot be written: {error}. Is there room, and may you write there?") from error

    def _ours(self) -> set[str]:
        """Return the files that the site of before consists of, by their path."""
        try:
            listed = json.loads((self.folder / _MARKER).read_text(encoding="utf-8"))["files"]
            return {name for name in listed if self._is_inside(name)}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return set()  # it is not the list that we wrote, so nothing here is known to be ours

    def _is_inside(self, name: str) -> bool:
        """Tell whether a listed path is in the folder: a list that somebody changed must lead nowhere else."""
        return (self.folder / name).resolve().is_relative_to(self.folder.resolve())

    def _replace(self, name: str, data: bytes) -> None:
        """Write a file whole, or not at all."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, young = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(young).chmod(0o644)  # a web server of another user reads it
            Path(young).replace(path)
        except BaseException:
            Path(young).unlink(missing_ok=True)
            raise

    def _remove(self, name: str) -> None:
        path = self.folder / name
        path.unlink(missing_ok=True)
        if path.parent != self.folder and not any(path.parent.iterdir()):
            path.parent.rmdir()
