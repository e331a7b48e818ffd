"""The program that is the launcher: seals itself, then imports the rest (`launcher.py`). Started by `launching.py`."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

    from runtime.process.sealing import ensure_sealed

    ensure_sealed([os.path.abspath(__file__), *sys.argv[1:]])

    from runtime.process.launcher import main

    main(sys.argv[1:])
