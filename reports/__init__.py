"""The face of the product: turns verdicts and causes into reports. Reads plain data, judges nothing."""
