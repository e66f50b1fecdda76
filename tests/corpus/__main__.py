"""`make corpus`: words choose files."""

import sys

from tests.corpus.matrix import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
