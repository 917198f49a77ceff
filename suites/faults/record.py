"""`python -m suites.faults.record FROM TO`: keeps recordings of live faults; see harness.proof.faults.recordings."""

import sys

from harness.proof.faults.recordings import main
from suites.catalogue import catalogue

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], catalogue().values()))
