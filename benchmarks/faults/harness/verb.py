"""A verb as it is, with the search spaces of one more folder: `python verb.py SPACES VERB ARGUMENTS`."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    spaces, verb = sys.argv[1], Path(sys.argv[2])
    sys.path[0] = str(verb.parent)
    import search_spaces

    search_spaces.FOLDER = Path(spaces)
    search_spaces.__path__.append(spaces)
    sys.argv = sys.argv[2:]
    runpy.run_path(str(verb), run_name="__main__")
