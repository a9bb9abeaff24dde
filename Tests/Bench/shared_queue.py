#!/usr/bin/env python3
"""shared_queue.py - a private PostgreSQL on loopback while a command runs; `storage.ini` for it is written first.

shared_queue.py PATH-OF-STORAGE-INI COMMAND …
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Integration"))
from postgres import Postgres

# As somebody would set a small server for this: no more than a tenth of it is beyond what Debian ships.
SETTINGS = "shared_buffers = 256MB\nmax_wal_size = 2GB\ncheckpoint_timeout = 15min\n"


def main():
    place, *command = sys.argv[1:]
    database = Postgres(SETTINGS)
    try:
        database.start()
        Path(place).write_text(database.ini("bench"))
        return subprocess.run(command).returncode
    finally:
        database.close()


if __name__ == "__main__":
    sys.exit(main())
