"""Files of dimod's binary quadratic models, binary ``.bqm`` or JSON; they need dimod."""

import json
import os
from tempfile import TemporaryFile

from pbitstream.errors import FileFormatError, SpecError
from pbitstream.ising.packages import dimod
from pbitstream.ising.problem import Problem

__all__ = ["MAGIC", "read_bqm"]

#: First bytes of the binary form.
MAGIC = b"DIMODBQM"


def read_bqm(path: str | os.PathLike[str], data: bytes, name: str) -> Problem:
    """Return the problem of a file of a model of SPIN or BINARY variables.

    Raises
    ------
    MissingExtraError
        Without dimod.
    FileFormatError
        If dimod refuses the file, or it holds no such model.
    """
    module = dimod()
    try:
        if data.startswith(MAGIC):
            with TemporaryFile() as file:
                file.write(data)
                file.seek(0)
                model = module.BinaryQuadraticModel.from_file(file)
        else:
            model = module.BinaryQuadraticModel.from_serializable(json.loads(data))
        return Problem.from_bqm(model, name=name, source=str(path))
    except SpecError as error:
        raise FileFormatError(f"{path}: {error}") from None
    except Exception as error:
        raise FileFormatError(f"{path}: no binary quadratic model of dimod: {error!r}") from error
