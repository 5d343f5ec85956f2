"""Reading the files and images that a caller names."""
