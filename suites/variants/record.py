"""`python -m suites.variants.record FROM TO`: keeps recordings of variants; see harness.proof.variants.recordings."""

import sys

from harness.proof.variants.recordings import main
from suites.catalogue import catalogue

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], catalogue().values()))
