"""A name becomes the name of a folder or a file here and nowhere else."""

import re
import unicodedata

LONGEST = 100  # characters: kind, id and the endings of staging, lock and log leave a name below 143 bytes
HEAD = 60  # of them, from the beginning of a name that is too long; the rest is its end
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def folder_name(name: str) -> str:
    """`name`, which may hold anything, as ASCII letters, digits and `. _ + = -`, at most `LONGEST` of them.

    It begins with a letter, a digit or `_`, so that it is neither hidden nor `..` nor an option, and is no
    name that Windows keeps for itself. Two names may become one: an id follows wherever that matters.
    """
    plain = unicodedata.normalize("NFKD", name[: 10 * LONGEST] + name[10 * LONGEST :][-LONGEST:])
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = re.sub(r"[^A-Za-z0-9._+=-]+", "_", plain)
    plain = re.sub(r"^[^A-Za-z0-9]+", "_", plain) or "_"
    if plain.partition(".")[0].lower() in RESERVED:
        plain = f"_{plain}"
    if len(plain) > LONGEST:
        plain = f"{plain[:HEAD]}..{plain[HEAD + 2 - LONGEST :]}"
    return plain
