"""A whole stand-in run in one of several processes (test_run_distributed.py): home, weights -> records on rank 0."""

import sys
from pathlib import Path

from standin import install, whole

install(Path(sys.argv[2]))
whole(Path(sys.argv[1]))
