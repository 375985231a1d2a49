"""Output matrices that are stored quantised: one module for each format, which dequantises it as its library does."""
