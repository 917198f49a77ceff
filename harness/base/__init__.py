"""What every stage uses: errors, redaction, programs, parallel work, waiting, the cache."""
