"""A whole stand-in run in one of several processes (test_run_distributed.py): home, weights -> records on rank 0.

With the third argument `dies`, the second process dies while it stores its second shard of pictures. With `counts`,
each process writes what its networks computed to <home>-work-<rank>.json.
"""

import os
import signal
import sys
from pathlib import Path

from counted_work import count_rows
from standin import install, whole

from benchmark.store import manifest

install(Path(sys.argv[2]))
mode = sys.argv[3] if len(sys.argv) > 3 else ""
if mode == "counts":
    count_rows(Path(f"{sys.argv[1]}-work-{os.environ['RANK']}.json"))
if mode == "dies" and os.environ["RANK"] == "1":
    kept, seal = [], manifest.seal

    def dying(folder, header):
        if header["kind"] == "images":
            kept.append(folder)
            if len(kept) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        return seal(folder, header)

    manifest.seal = dying
whole(Path(sys.argv[1]))
