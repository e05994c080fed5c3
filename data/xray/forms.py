"""The forms of a source: told by the names of its files, and read by a module each."""

from typing import Literal

from parak8s.data.sources import Source
from parak8s.data.xray import archive, folders, synthetic, table
from parak8s.data.xray.listing import Listing
from parak8s.errors import InputError

Form = Literal["folder", "csv", "npz", "synthetic"]


def guess(source: Source) -> Form:
    """Return the form that the names of the files show.

    Raises:
        InputError: They show none.
    """
    root = source.root
    if root is None:
        return "synthetic"
    if table.find(source) is not None:
        return "csv"
    if archive.find(source) is not None:
        return "npz"
    if root.is_file():
        raise InputError(f"{root}: expected a .csv or .npz file, or a folder of images")
    return "folder"


def read(form: Form, source: Source) -> Listing:
    """List the images of ``source``, read as ``form``.

    Raises:
        InputError: The source does not hold this form.
        EnvironmentFault: A file may not be read.
    """
    if source.root is None:
        if form != "synthetic":
            raise InputError(f"{source.url}: form {form} reads files, and this source has none; leave form out")
        return synthetic.read(source.url)
    if form == "folder":
        if source.root.is_file():
            raise InputError(f"{source.root}: a file; form folder wants the folder in which the classes lie")
        return folders.read(source)
    file = (table.find if form == "csv" else archive.find)(source)
    if file is None:
        raise InputError(f"{source.root}: no .{form} file, which data.options.form asks for")
    return table.read(file) if form == "csv" else archive.read(file)
