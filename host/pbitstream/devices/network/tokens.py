"""The secret that a server and its clients share: from a file or the environment, never an option.

What stands on a command line is seen by everybody on the machine, and kept in its history.
"""

import os
import string

from pbitstream.errors import SpecError

__all__ = ["VARIABLE", "find_token"]

VARIABLE = "PBITSTREAM_TOKEN"
#: Characters of a token.
SHORTEST, LONGEST = 16, 1024
_ALLOWED = frozenset(string.ascii_letters + string.digits + string.punctuation)


def find_token(path: str | None) -> bytes | None:
    """Return the token of a file, else that of the environment, else None.

    Raises
    ------
    SpecError
        If the file cannot be read, or what is found is no token. The message never holds it.
    """
    if path is not None:
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                # A little more than may be there, so that what is too long is seen to be.
                text = file.read(2 * LONGEST).strip()
        except OSError as error:
            raise SpecError(f"token file {path} cannot be read: {error.strerror}") from error
        source = f"token file {path}"
    else:
        text, source = os.environ.get(VARIABLE, "").strip(), VARIABLE
        if not text:
            return None
    if not (SHORTEST <= len(text) <= LONGEST and _ALLOWED.issuperset(text)):
        raise SpecError(f"{source} must hold {SHORTEST} to {LONGEST} ASCII letters, digits or "
                        f"punctuation without spaces, not {len(text)} characters of any kind; "
                        "python -c 'import secrets; print(secrets.token_urlsafe())' makes one")
    return text.encode("ascii")
